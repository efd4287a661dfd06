"""Logits of one case from a prompted variant: tiles without a prompt do not contribute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from samunet.errors import UserError
from samunet.inference.sliding_window import Pick, Slab, sliding_window
from samunet.inputs.protocols import CaseInputs
from samunet.preprocessing.case import PreparedCase
from samunet.variants.prompted import ABSENT, PromptedVariant
from samunet.variants.registry import HOW_TO_PROMPT

TILES = 8  # of one call


def answered(variant: PromptedVariant, case: PreparedCase, embeddings: CaseInputs) -> Iterator[Slab]:
    """Logits float32 (K, dz, Y, X) on the plan's grid, in slice order.

    Where tiles overlap, a class's logits are the weighted mean over the tiles with a prompt of that class. Outside
    those tiles they are ABSENT.

    Raises:
        UserError: the case has no prompts.
    """
    prompts, channels = case.prompts, variant.labels.channels
    if prompts is None:
        raise UserError("A prompted variant needs prompts.", where=case.properties.name, mend=HOW_TO_PROMPT)

    def logits_and_shares(picks: Sequence[Pick]) -> Tensor:
        """(B, 2 K, 1, rows, columns): logits of prompted classes, else 0; then 1 for prompted classes, else 0."""
        logits, prompted = variant.answers(prompts, embeddings, picks)
        shares = prompted[..., None, None].expand_as(logits)
        return torch.cat([torch.where(shares, logits, 0.0), shares.float()], 1)[:, :, None]

    for first, slab in sliding_window(logits_and_shares, embeddings.frame, embeddings.depth, batch_size=TILES):
        sums, shares = slab[:channels], slab[channels:]
        yield first, np.divide(sums, shares, out=np.full_like(sums, ABSENT), where=shares > 0)
