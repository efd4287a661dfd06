"""A variant that learns nothing: it answers prompts of a person, or of an oracle.

Tiles without a prompt do not contribute.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from samunet.errors import UserError
from samunet.inputs.embeddings import HeldEmbeddings, LiveEmbeddings, images_at_once
from samunet.inputs.protocols import CaseInputs, Place
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.prompts.case_prompts import CasePrompts
from samunet.variants.answers import ABSENT, PromptAnswers, with_start
from samunet.variants.base import Variant
from samunet.variants.prediction import Reading
from samunet.variants.registry import HOW_TO_PROMPT
from samunet.variants.sliding_window import Slab, sliding_window
from samunet.variants.states import require_same

TILES = 8  # of one call


class PromptedVariant(Variant):
    """Answers the prompts of a case, tile by tile, on the frozen encoder's embeddings."""

    needs: ClassVar[str] = "embeddings"

    @abstractmethod
    def answers(self, prompts: CasePrompts, embeddings: CaseInputs, picks: Sequence[Place]) -> tuple[Tensor, Tensor]:
        """What the prompts segment on B picks (slice, tile).

        Returns:
            logits float32 (B, K, rows, columns) on the voxels of the plan's tile, and bool (B, K): which channels have
            a prompt there. The others' logits mean nothing.
        """

    def predict_slabs(self, folds: Sequence[Self], case: PreparedCase, reading: Reading) -> Iterator[Slab]:
        """See `Variant`; nothing is trained, so all folds answer alike, and mirroring has no place.

        Where tiles overlap, a class's logits are the weighted mean over those tiles on which it has a prompt: a tile
        without its prompt knows nothing of it. Where no such tile reaches, they are ABSENT, unless the case has a mask
        to start from: see `answers.with_start`.
        """
        embeddings, prompts, channels = reading.embeddings, case.prompts, self.labels.channels
        if prompts is None:
            raise UserError("A prompted variant needs prompts.", where=case.properties.name,
                            mend=HOW_TO_PROMPT)
        if embeddings is None:
            assert reading.encoder is not None
            embeddings = LiveEmbeddings(case, reading.plans, reading.encoder, step=reading.step)

        def logits_and_shares(picks: Sequence[Place]) -> Tensor:
            """(B, 2 K, 1, rows, columns): logits where there is a prompt, else 0, and 1 or 0 for whether there is."""
            logits, prompted = self.answers(prompts, embeddings, picks)
            shares = prompted[..., None, None].expand_as(logits)
            return torch.cat([torch.where(shares, logits, 0.0), shares.float()], 1)[:, :, None]

        def divided() -> Iterator[Slab]:
            for first, slab in sliding_window(logits_and_shares, embeddings.frame, embeddings.depth, batch_size=TILES):
                sums, shares = slab[:channels], slab[channels:]
                yield first, np.divide(sums, shares, out=np.full_like(sums, ABSENT), where=shares > 0)

        yield from with_start(divided(), case.start, self.labels)

    def answers_of(self, folds: Sequence[Self], case: PreparedCase, reading: Reading) -> PromptAnswers:
        """See `Variant`; each embedding is encoded when a prompt first needs it, and held."""
        embeddings, at_once = reading.embeddings, 1
        if embeddings is None:
            assert reading.encoder is not None
            embeddings = LiveEmbeddings(case, reading.plans, reading.encoder, step=reading.step)
            alone = self.context.encoder_plan.channels_alone(reading.plans.dataset)
            at_once = max(1, images_at_once(reading.encoder, self.context.encoder_plan.input_size) // alone)
        return super().answers_of(folds, case, replace(reading, embeddings=HeldEmbeddings(embeddings, at_once)))

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing."""
        require_same(state, {})
