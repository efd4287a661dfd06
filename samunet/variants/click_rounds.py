"""A promptable network as it is trained: every patch is prompted in rounds, by clicks simulated from its labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.dataset.labels import LabelSpace
from samunet.inputs.clicks import Query, corrected, first_query, tensors_of
from samunet.inputs.patches_3d import KeyedPatches
from samunet.networks.promptable_3d import Promptable3d
from samunet.networks.volumetric_decoder import PreparedPatch
from samunet.processes import total
from samunet.variants.losses import soft_dice_loss


class ClickRounds(nn.Module):
    """Patches with labels -> the answers to one query for each patch, round by round.

    Features are computed once. The first round has what `inputs.clicks.first_query` simulates, each further one a click
    more, in the largest error of the answer before, which is then the mask to correct.

    Arguments:
        promptable: the network, whose weights alone are trained.
        rounds: answers of each query.
    """

    def __init__(self, promptable: Promptable3d, labels: LabelSpace, rounds: int) -> None:
        super().__init__()
        self.promptable = promptable
        self._labels, self._rounds = labels, rounds

    def forward(self, patches: KeyedPatches) -> list[Tensor]:
        """The logits of each round, and at last the targets and where labels are known, all float32 (B, z, y, x)."""
        images = patches.images
        prepared = self.promptable.prepare(self.promptable.encode(images), images)
        keys = patches.keys.tolist()
        queries = [first_query(labels, self._labels, self.promptable.token, _random(key, 0))
                   for labels, key in zip(patches.labels.cpu().numpy(), keys, strict=True)]
        answers: list[Tensor] = []
        for number in range(1, self._rounds + 1):
            answers.append(self.answer(prepared, queries))
            if number < self._rounds:
                masks = (answers[-1].detach() > 0).cpu().numpy()
                queries = [corrected(query, mask, _random(key, number))
                           for query, mask, key in zip(queries, masks, keys, strict=True)]
        known = [torch.from_numpy(np.stack([getattr(query, name) for query in queries])).float().to(images.device)
                 for name in ("target", "counts")]
        return [*answers, *known]

    def answer(self, prepared: PreparedPatch, queries: Sequence[Query]) -> Tensor:
        """Logits float32 (B, z, y, x) of a query for each prepared patch."""
        prompts, sources = tensors_of(queries, prepared.last.device)
        tokens = self.promptable.tokens_at(prepared.last, sources)
        return self.promptable.answer_prepared(prepared, replace(prompts, tokens=tokens))


def loss_of_rounds(outputs: Sequence[Tensor]) -> Tensor:
    """Mean over rounds of soft Dice, of each query alone, and binary cross entropy, in equal parts, in float32.

    Voxels whose label is not known count in neither. A query with an empty target has no gradient by Dice.

    Arguments:
        outputs: those of `ClickRounds`.
    """
    *answers, target, counts = outputs
    losses = []
    for logits in answers:
        logits = logits.float()
        # A query has the place of a channel, so that small targets weigh as much as large ones.
        dice = soft_dice_loss(logits.sigmoid()[None], target[None], counts[None])
        entropy = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
        losses.append((dice + total((entropy * counts).sum()) / total(counts.sum()).clamp(min=1)) / 2)
    return torch.stack(losses).mean()


def _random(key: Sequence[int], number: int) -> np.random.Generator:
    """Of the choices before round `number`; 2 tells them from those of the patch."""
    return np.random.default_rng([*key, 2, number])
