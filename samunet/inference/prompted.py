"""Logits of one case from a variant that answers prompts: tiles that were not asked have no say."""

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

    Where tiles overlap, a class's logits are the weighted mean over those tiles on which it was asked for: a tile
    without its prompt knows nothing of it. Where no such tile reaches, they are ABSENT.

    Raises:
        UserError: the case has no prompts.
    """
    prompts, channels = case.prompts, variant.labels.channels
    if prompts is None:
        raise UserError("A variant that answers prompts needs some.", where=case.properties.name, mend=HOW_TO_PROMPT)

    def asked_and_shares(picks: Sequence[Pick]) -> Tensor:
        """(B, 2 K, 1, rows, columns): logits that were asked for, else 0, and 1 or 0 for whether they were."""
        logits, asked = variant.answers(prompts, embeddings, picks)
        shares = asked[..., None, None].expand_as(logits)
        return torch.cat([torch.where(shares, logits, 0.0), shares.float()], 1)[:, :, None]

    for first, slab in sliding_window(asked_and_shares, embeddings.frame, embeddings.depth, batch_size=TILES):
        sums, shares = slab[:channels], slab[channels:]
        yield first, np.divide(sums, shares, out=np.full_like(sums, ABSENT), where=shares > 0)
