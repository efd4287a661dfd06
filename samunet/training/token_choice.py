"""Which rule makes tokens of a few-shot model's support: the one by which its own labelled pictures are answered best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.networks.region_tokens import MEAN, RULES
from samunet.preprocessing.queries import Queries
from samunet.training.support import Support
from samunet.variants.fewshot import FewshotVariant

RULE = "rule"


def set_chosen_support(variant: FewshotVariant, support: Support, device: torch.device) -> dict[str, Any]:
    """Let `support` ask, by the rule of `region_tokens` that is best on it; ties go to the simpler one.

    The decoder stands as it does before training. Each picture that asks is answered with its own unit left out, of tokens and
    of guess; what decides is `left_out_dice`. Where those pictures are of one unit nothing would be left to ask by: `mean` is taken.

    Returns:
        what run.json keeps under `tokens`: the `rule`, and `left_out_dice` of each rule (empty where there was no choice).
    """
    variant.set_support(support.embeddings, support.coverage, support.units, support.asking)
    if len(support.units[support.asking].unique()) == 1:
        return {RULE: MEAN, "left_out_dice": {}}
    embeddings, coverage = support.embeddings[support.asking], support.coverage[support.asking]
    scores = {}
    for rule in RULES:
        variant.fewshot.set_tokens(embeddings, coverage, rule)
        scores[rule] = left_out_dice(variant, support, device)
    chosen = max(RULES, key=lambda rule: scores[rule])  # the first of equal ones
    variant.fewshot.set_tokens(embeddings, coverage, chosen)
    return {RULE: chosen, "left_out_dice": scores}


def chosen_rule(run: Mapping[str, Any], where: str) -> str:
    """The rule of a trained model, by its run.json; models from before there was a choice have `mean`.

    Raises:
        UserError: a rule that is not known here.
    """
    rule = run.get("tokens", {RULE: MEAN})[RULE]
    if rule not in RULES:
        raise UserError("A model's tokens must be made by a rule that is known here.", where=where, found=str(rule),
                        mend=f"Use the samunet that trained it; known: {', '.join(RULES)}.")
    return str(rule)


@torch.no_grad()
def left_out_dice(variant: FewshotVariant, support: Support, device: torch.device) -> float:
    """Mean Dice of the pictures that ask, each answered without its own unit.

    A class' Dice is of all of these pictures together, so that what is found in pictures without the class counts against it;
    a class that none of them shows does not count.
    """
    variant.network.to(device).eval()
    size = variant.context.encoder_plan.batch_size
    found = []
    for asking in support.asking.split(size):
        queries = Queries(support.embeddings[asking], support.units[asking]).to(device)
        found.append(variant.outputs(queries).cpu())
    logits = torch.cat(found).movedim(1, 0).numpy()
    return mean_dice(variant.labels.decode(logits, threshold=0.0), support.segmentation, variant.labels)


def mean_dice(predicted: np.ndarray, truth: np.ndarray, space: LabelSpace) -> float:
    """Mean over the classes that `truth` shows of Dice over all voxels that count, of label values of one shape."""
    valid, scores = space.valid(truth), []
    for label in space.foreground:
        ours, theirs = space.mask(predicted, label) & valid, space.mask(truth, label) & valid
        if theirs.any():
            scores.append(2 * int((ours & theirs).sum()) / int(ours.sum() + theirs.sum()))
    return float(np.mean(scores))
