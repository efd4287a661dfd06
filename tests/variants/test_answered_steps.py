"""Answers are found again after undos, as far as they are stored."""

from __future__ import annotations

import numpy as np

from samunet.preprocessing.prompts.case_prompts import LabelPrompts
from samunet.variants.answered_steps import MOST_EARLIER, Answered, AnsweredSteps


def prompts(count: int, boxes: int = 0) -> tuple[LabelPrompts]:
    return (LabelPrompts(np.arange(3.0 * count).reshape(-1, 3), np.zeros((boxes, 2, 3))),)


def answered(count: int) -> Answered:
    logits = np.zeros((1, 2, 4, 8), np.float32)
    logits.ravel()[:count] = np.arange(1, count + 1)
    return Answered(prompts(count), logits, logits > 1)


def test_earlier_answers_come_back_bit_by_bit() -> None:
    steps = AnsweredSteps()
    for count in range(1, 6):
        steps.add(answered(count))
    for count in (5, 3, 1):
        found = steps.before(prompts(count + 1))
        assert found is not None and len(found.prompts[0].points) == count
        np.testing.assert_array_equal(found.logits, answered(count).logits)
        np.testing.assert_array_equal(found.masks, answered(count).masks)
    assert steps.before(prompts(1)) is None


def test_answers_that_are_not_one_prompt_before_are_dropped() -> None:
    steps = AnsweredSteps()
    steps.add(answered(2))
    assert steps.before(prompts(2, boxes=1)) is not None
    moved = (LabelPrompts(prompts(3)[0].points + 1),)
    assert steps.before(moved) is None and steps.before(prompts(3)) is None
    steps.add(answered(2))
    assert steps.before(prompts(2)) is None  # the same prompts were undone and given again
    steps.add(answered(2))
    assert steps.before(prompts(4)) is None


def test_as_many_are_stored_as_named() -> None:
    steps = AnsweredSteps()
    for count in range(1, MOST_EARLIER + 3):
        steps.add(answered(count))
    assert steps.before(prompts(3)) is not None and steps.before(prompts(2)) is None
