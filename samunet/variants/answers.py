"""A case whose prompts are answered one after the other, from image features that are computed once."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from samunet.preprocessing.prompts.case_prompts import CasePrompts


class PromptAnswers(Protocol):
    """What a variant answers of one case; holds the case's features."""

    def answer(self, prompts: CasePrompts, previous: np.ndarray | None) -> np.ndarray:
        """Segment the case from all prompts given so far.

        Arguments:
            prompts: on the plan's grid. previous: bool (F, Z, Y, X), the mask of each foreground label before the
                last prompt, which a variant may refine or ignore; None: there is none.

        Returns:
            finite logits float32 (K, Z, Y, X) on the plan's grid.
        """
