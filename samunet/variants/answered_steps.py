"""The answers of one case so far: the next prompt goes on from the last, and after an undo from the one before it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from samunet.preprocessing.prompts.case_prompts import LabelPrompts
from samunet.variants.mask_parts import bounding_region

MOST_EARLIER = 32  # answers before the last that are stored, each as what the next one changed


@dataclass(frozen=True)
class Answered:
    """An answer to prompts.

    Arguments:
        prompts: of each foreground label.
        logits: float32 (F, Z, Y, X), each label's own. masks: bool (F, Z, Y, X), after labels have competed.
    """

    prompts: tuple[LabelPrompts, ...]
    logits: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True)
class _Earlier:
    """An answer by its values in the region that the next one changed; None: nothing changed."""

    prompts: tuple[LabelPrompts, ...]
    region: tuple[slice, ...] | None
    logits: np.ndarray
    masks: np.ndarray


class AnsweredSteps:
    """The last answer whole, and those before it as differences."""

    def __init__(self) -> None:
        self._last: Answered | None = None
        self._earlier: deque[_Earlier] = deque(maxlen=MOST_EARLIER)

    def before(self, prompts: tuple[LabelPrompts, ...]) -> Answered | None:
        """The answer to all of `prompts` but the last one, where it is stored; later ones were undone and are dropped.
        """
        while self._last is not None and not _one_more(self._last.prompts, prompts):
            self._last = self._stepped_back(self._last)
        return self._last

    def add(self, answer: Answered) -> None:
        """Store the newest answer."""
        last = self._last
        if last is not None:
            region = bounding_region((last.logits != answer.logits) | (last.masks != answer.masks))
            cut = region or (slice(0, 0),)
            self._earlier.append(_Earlier(last.prompts, region, last.logits[cut].copy(), last.masks[cut].copy()))
        self._last = answer

    def _stepped_back(self, last: Answered) -> Answered | None:
        """The answer before the last."""
        if not self._earlier:
            return None
        step = self._earlier.pop()
        logits, masks = last.logits.copy(), last.masks.copy()
        if step.region is not None:
            logits[step.region], masks[step.region] = step.logits, step.masks
        return Answered(step.prompts, logits, masks)


def _one_more(before: tuple[LabelPrompts, ...], now: tuple[LabelPrompts, ...]) -> bool:
    """Whether prompts are those of `before` and one more, which was given after them."""
    added = sum(len(each.points) + len(each.boxes) for each in now) - sum(
        len(each.points) + len(each.boxes) for each in before)
    return added == 1 and all(map(_begins, before, now))


def _begins(before: LabelPrompts, now: LabelPrompts) -> bool:
    """Whether a label's prompts are those of `before`, and perhaps some more."""
    points, boxes = len(before.points), len(before.boxes)
    return (np.array_equal(before.points, now.points[:points]) and np.array_equal(before.boxes, now.boxes[:boxes])
            and np.array_equal(before.positive, now.positive[:points]))
