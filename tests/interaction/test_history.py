"""Undo and redo on masks that are known by hand, and beside replay from the beginning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from samunet.errors import UserError
from samunet.interaction.actions import Action, Point
from samunet.interaction.history import History
from samunet.variants.mask_parts import bounding_region

EMPTY = np.zeros((4, 5, 6), np.uint8)


def applied(done: Sequence[Action], mask: np.ndarray) -> np.ndarray:
    """Adds 1 to the box that begins at the last point: what came before matters, as it does for a model."""
    *_, last = done
    if last.label == "bad":
        raise UserError("refused")
    z, y, x = (int(each) for each in last.place)
    after = mask.copy()
    after[z:, y:, x : x + 2] += 1
    return after


def point(z: int, y: int, x: int, label: str = "a") -> Point:
    return Point((float(z), float(y), float(x)), label)


def many(count: int) -> list[Point]:
    random = np.random.default_rng(3)
    return [point(*random.integers(0, (4, 5, 6)).tolist()) for _ in range(count)]


def test_changes_are_the_box_that_an_action_an_undo_or_a_redo_changed() -> None:
    history = History(applied, EMPTY)
    history.push(point(2, 3, 1))
    assert history.last_region == (slice(2, 4), slice(3, 5), slice(1, 3))
    assert history.mask.sum() == 8 and (history.mask[2:, 3:, 1:3] == 1).all()
    history.push(point(3, 4, 5))
    assert history.last_region == (slice(3, 4), slice(4, 5), slice(5, 6)) and history.mask.sum() == 9
    assert history.undo() and history.last_region == (slice(3, 4), slice(4, 5), slice(5, 6)) and history.mask.sum() == 8
    assert history.undo() and not history.mask.any() and not history.undo()
    assert history.redo() and history.mask.sum() == 8 and history.redo() and not history.redo()
    assert not EMPTY.any()


@pytest.mark.parametrize("loaded", [False, True])
def test_100_undos_and_redos_give_every_mask_back(loaded: bool) -> None:
    history, masks = History(applied, EMPTY), [EMPTY]
    for action in many(100):
        history.push(action)
        masks.append(history.mask)
    if loaded:  # where only the actions and the last mask are known, they are replayed
        recorded, history = history, History(applied, EMPTY)
        history.restore(recorded.actions, recorded.cursor, recorded.mask)
    for mask in reversed(masks[:-1]):
        assert history.undo()
        np.testing.assert_array_equal(history.mask, mask)
    for mask in masks[1:]:
        assert history.redo()
        np.testing.assert_array_equal(history.mask, mask)
    assert not history.redo()


def test_a_mask_that_was_handed_out_does_not_change() -> None:
    history = History(applied, EMPTY)
    history.push(point(2, 3, 1))
    handed, before = history.mask, history.mask.copy()
    history.undo()
    empty = history.mask
    history.redo()
    assert (handed == before).all() and not empty.any()


def test_an_action_after_undo_drops_what_was_undone() -> None:
    history, first, second, third = History(applied, EMPTY), point(0, 0, 0), point(1, 1, 1), point(2, 2, 2)
    for action in (first, second):
        history.push(action)
    history.undo()
    history.push(third)
    assert history.actions == [first, third] and list(history.done) == [first, third] and not history.redo()
    np.testing.assert_array_equal(history.mask, applied([first, third], applied([first], EMPTY)))


def test_a_refused_action_changes_nothing_and_keeps_what_was_undone() -> None:
    history = History(applied, EMPTY)
    history.push(point(0, 0, 0))
    history.push(point(1, 1, 1))
    history.undo()
    before = history.mask
    with pytest.raises(UserError, match="refused"):
        history.push(point(0, 0, 0, "bad"))
    assert history.mask is before and len(history.actions) == 2 and history.cursor == 1 and history.redo()


def test_a_state_without_its_mask_is_replayed_up_to_its_cursor() -> None:
    history = History(applied, EMPTY)
    history.restore([point(0, 0, 0), point(1, 1, 1), point(2, 2, 2)], 2, None)
    np.testing.assert_array_equal(history.mask, applied([point(1, 1, 1)], applied([point(0, 0, 0)], EMPTY)))
    assert history.last_region is None and history.redo() and history.cursor == 3


def test_the_bounding_region_of_nothing_is_none() -> None:
    assert bounding_region(np.zeros((2, 2, 2), bool)) is None


class Remembering:
    """Adds to each mask how many actions it has seen, one after the other; others are refused."""

    def __init__(self) -> None:
        self.seen: list[Action] = []

    def __call__(self, done: Sequence[Action], mask: np.ndarray) -> np.ndarray:
        *before, last = done
        while self.seen != before:
            self.seen.pop()  # what was undone; raises where the actions before were never seen
        self.seen.append(last)
        return mask + np.uint8(len(self.seen))


@pytest.mark.parametrize("undone", [0, 1, 2])
def test_a_restored_history_lets_the_model_see_the_actions_done_before_the_next(undone: int) -> None:
    recorded = History(Remembering(), EMPTY)
    for action in many(3):
        recorded.push(action)
    recorded.undo()
    restored = History(Remembering(), EMPTY)
    restored.restore(recorded.actions, recorded.cursor, recorded.mask, recalls=True)
    for history in (recorded, restored):
        for _ in range(undone):
            assert history.undo()
        history.push(point(1, 1, 1))
    np.testing.assert_array_equal(restored.mask, recorded.mask)
    assert restored.undo() and recorded.undo()
    np.testing.assert_array_equal(restored.mask, recorded.mask)
    assert restored.redo() and not restored.redo()


def test_redo_after_restoring_lets_the_model_see_the_actions_done() -> None:
    recorded = History(Remembering(), EMPTY)
    for action in many(3):
        recorded.push(action)
    restored = History(Remembering(), EMPTY)
    restored.restore(recorded.actions, 2, EMPTY + np.uint8(3), recalls=True)
    assert restored.redo()
    np.testing.assert_array_equal(restored.mask, recorded.mask)
