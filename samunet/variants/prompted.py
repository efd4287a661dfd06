"""A variant that learns nothing: it answers what a person, or an oracle, says of a case."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor

from samunet.inputs.protocols import CaseInputs, Place
from samunet.preprocessing.prompts.case_prompts import CasePrompts
from samunet.variants.base import Variant
from samunet.variants.states import require_same

ABSENT = -10.0  # logit of a class that nobody asked for: a chance of 0.00005, finite since logits are interpolated


class PromptedVariant(Variant):
    """Answers the prompts of a case, tile by tile, on the frozen encoder's embeddings."""

    @abstractmethod
    def answers(self, prompts: CasePrompts, embeddings: CaseInputs, picks: Sequence[Place]) -> tuple[Tensor, Tensor]:
        """What the prompts ask for on B picks (slice, tile).

        Returns:
            logits float32 (B, K, rows, columns) on the voxels of the plan's tile, and asked bool (B, K): which channels were
            asked for there. The others' logits mean nothing.
        """

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Nothing."""
        require_same(state, {})
