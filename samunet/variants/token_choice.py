"""Which rule makes tokens of a few-shot model's support: the one that segments its labelled cases best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.queries import Queries
from samunet.inputs.sampling import LabelSlices
from samunet.inputs.support import Support, unit_of
from samunet.networks.region_tokens import MEAN, RULES

if TYPE_CHECKING:
    from samunet.variants.fewshot import FewshotVariant

JUDGED = 32  # labelled tiles at most by which rules are compared, over all cases
RULE = "rule"


@dataclass(frozen=True)
class Judged:
    """Labelled tiles, each with the unit of the support that must not prompt on it, and their label values.

    `segmentation` is int16 (B, rows, columns).
    """

    queries: Queries
    segmentation: np.ndarray


def gather_judged(inputs: Mapping[str, CaseInputs], labels: Mapping[str, LabelSlices], names: Sequence[str]) -> Judged:
    """At most JUDGED annotated tiles of the support's cases `names`, evenly spaced, those without a class among them.

    The slices that prompt will not do: they are spread over position and size, not as slices are in a case, and all
    show a class.
    """
    picks = [(name, int(plane), int(tile)) for name in names for plane, tile in np.argwhere(labels[name].annotated)]
    chosen = picks[:: -(-len(picks) // JUDGED)]
    embeddings = torch.cat([inputs[name].read([(plane, tile)]) for name, plane, tile in chosen])
    units = torch.tensor([unit_of(name, plane, names, inputs[name].depth) for name, plane, _ in chosen])
    segmentation = np.stack([labels[name].tile(plane, tile) for name, plane, tile in chosen])
    return Judged(Queries(embeddings, units), segmentation)


def set_chosen_support(
    variant: FewshotVariant, support: Support, judged: Judged, device: torch.device
) -> dict[str, Any]:
    """Prompt with `support` by the rule of `region_tokens` that is best on `judged`; ties go to the simpler rule.

    The decoder is as before training. What decides is `left_out_dice`. Where all that prompts is of one
    unit, nothing would be left: `mean` is taken.

    Returns:
        what run.json holds under `tokens`: the `rule`, and `left_out_dice` of each rule (empty where there was no
        choice).
    """
    variant.set_support(support)
    if len(support.units[support.asking].unique()) == 1:
        return {RULE: MEAN, "left_out_dice": {}}
    embeddings, coverage = support.embeddings[support.asking], support.coverage[support.asking]
    scores = {}
    for rule in RULES:
        variant.fewshot.set_tokens(embeddings, coverage, rule)
        scores[rule] = left_out_dice(variant, judged, device)
    chosen = max(RULES, key=lambda rule: scores[rule])  # the first of equal ones
    variant.fewshot.set_tokens(embeddings, coverage, chosen)
    return {RULE: chosen, "left_out_dice": scores}


def chosen_rule(run: Mapping[str, Any], where: str) -> str:
    """The rule of a trained model, by its run.json; models from before there was a choice have `mean`.

    Raises:
        UserError: a rule that is not known here.
    """
    rule = (run.get("tokens") or {RULE: MEAN})[RULE]
    if rule not in RULES:
        raise UserError("A model's tokens must follow a rule that is known here.", where=where, found=str(rule),
                        mend=f"Use the samunet that trained it; known: {', '.join(RULES)}.")
    return str(rule)


@torch.no_grad()
def left_out_dice(variant: FewshotVariant, judged: Judged, device: torch.device) -> float:
    """Mean Dice of the classes in `judged`; each tile's own unit is left out of tokens and guess."""
    variant.network.to(device).eval()
    size, found = variant.context.encoder_plan.batch_size, []
    for first in range(0, len(judged.queries), size):
        found.append(variant.outputs(judged.queries[first : first + size].to(device)).cpu())
    logits = torch.cat(found).movedim(1, 0).numpy()
    return mean_dice(variant.labels.decode(logits, threshold=0.0), judged.segmentation, variant.labels)


def mean_dice(predicted: np.ndarray, truth: np.ndarray, space: LabelSpace) -> float:
    """Mean over the classes that `truth` shows of Dice over all voxels that count, of label values of one shape.

    A class' Dice is of all tiles together, so that what is found in those without the class counts against it; 0
    where `truth` shows no class at all.
    """
    valid, scores = space.valid(truth), []
    for label in space.foreground:
        ours, theirs = space.mask(predicted, label) & valid, space.mask(truth, label) & valid
        if theirs.any():
            scores.append(2 * int((ours & theirs).sum()) / int(ours.sum() + theirs.sum()))
    return float(np.mean(scores)) if scores else 0.0
