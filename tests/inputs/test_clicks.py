"""Simulated prompts: never outside of what they are for, of the right polarity, and the same for the same key."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from samunet.dataset.labels import UNANNOTATED, LabelSpace
from samunet.inputs.clicks import Query, corrected, first_query, largest, tensors_of
from samunet.inputs.corruption import ball, corrupted, split_at_face

SPACE = LabelSpace({"background": 0, "a": 1, "b": 2})
TOKEN = (2, 2, 2)
SHAPE = (8, 12, 12)


def block(low: tuple[int, int, int], high: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


LARGE, SMALL = block((1, 1, 1), (6, 6, 6)), block((1, 9, 9), (3, 11, 11))


def query(target: np.ndarray) -> Query:
    return Query(0, target, np.ones(SHAPE, bool), np.zeros(SHAPE, bool))


def labels() -> np.ndarray:
    return np.where(LARGE, 1, np.where(SMALL, 2, 0))


def inside(mask: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.array([mask[tuple(np.floor(point).astype(int))] for point in points], bool)


def test_a_correction_is_in_the_interior_of_the_largest_error() -> None:
    for seed in range(20):
        # All is missed: the large part is 5 voxels wide, so its interior is 2 to 5 along each axis.
        missed = corrected(query(LARGE | SMALL), np.zeros(SHAPE, bool), np.random.default_rng(seed))
        assert missed.positive.tolist() == [True] and not missed.previous.any()
        assert ((missed.points >= 2) & (missed.points < 5)).all()
        # The small part is missed, 8 voxels, and 125 are too much.
        wrong = corrected(query(SMALL), LARGE, np.random.default_rng(seed))
        assert wrong.positive.tolist() == [False] and inside(LARGE, wrong.points).all()
        assert np.array_equal(wrong.previous, LARGE)


def test_a_right_answer_gets_no_click() -> None:
    assert len(corrected(query(LARGE), LARGE, np.random.default_rng(0)).points) == 0


def test_unknown_voxels_are_no_error() -> None:
    asked = replace(query(SMALL), counts=~LARGE)
    assert len(corrected(asked, LARGE | SMALL, np.random.default_rng(0)).points) == 0
    segmentation = np.where(LARGE, UNANNOTATED, 0)
    for seed in range(10):
        made = first_query(segmentation, SPACE, TOKEN, np.random.default_rng(seed))
        assert not made.target.any() and not made.counts[LARGE].any()


def test_first_prompts_are_in_their_target() -> None:
    kinds = set()
    for seed in range(300):
        made = first_query(labels(), SPACE, TOKEN, np.random.default_rng(seed))
        truth = (LARGE, SMALL)[made.index]
        assert not made.target.any() or np.array_equal(made.target, truth)
        in_patch = ((made.points >= 0) & (made.points < SHAPE)).all(1)
        at_home = made.positive & in_patch
        assert inside(truth, made.points[at_home]).all()
        assert not inside(truth, made.points[~made.positive & in_patch]).any()
        assert inside(truth, made.sources[made.positive]).all()
        if not in_patch.all():  # a window that a target grew into: its mask is known at one end
            assert made.previous.any() and not (made.previous & ~truth).any()
        for box in made.boxes:  # at most 15 % of an extent beyond, and 5 % short
            extent = box[1] - box[0]
            assert (extent > 0.8 * 2).all() and (extent < 1.4 * 5).all()
        if not made.target.any():
            assert not len(made.points) and not len(made.boxes) and not made.previous.any()
        kinds.add((bool(in_patch.all()), len(made.boxes), bool(made.previous.any()), bool(made.target.any())))
    # Fresh clicks, boxes, corrections, grown windows and no prompt at all.
    assert {(True, 0, False, True), (True, 1, False, True), (True, 0, True, True), (False, 0, True, True),
            (True, 0, False, False)} <= kinds


def test_a_class_that_is_not_shown_has_an_empty_target() -> None:
    found = set()
    for seed in range(40):
        made = first_query(np.where(LARGE, 1, 0) * 0, SPACE, TOKEN, np.random.default_rng(seed))
        assert not made.target.any() and not made.positive.any()
        found.add((len(made.points), bool(made.previous.any())))
    assert found == {(0, False), (1, False), (1, True)}


def test_the_same_key_gives_the_same_query() -> None:
    first, again = (first_query(labels(), SPACE, TOKEN, np.random.default_rng([0, 7, 1, 2, 0])) for _ in range(2))
    assert first.index == again.index and np.array_equal(first.points, again.points)
    assert np.array_equal(first.previous, again.previous) and np.array_equal(first.boxes, again.boxes)


def test_queries_become_padded_tensors() -> None:
    one = query(LARGE).clicked(np.array([1.5, 2.5, 3.5]), True)
    two = replace(query(SMALL), index=1, boxes=np.array([[[0.0, 0, 0], [1, 2, 3]]]))
    two = two.clicked(np.array([-4.0, 2, 3]), True, np.array([0.5, 2, 3])).clicked(np.array([5.0, 6, 7]), False)
    prompts, sources = tensors_of([one, two], torch.device("cpu"))
    assert prompts.classes.tolist() == [0, 1] and prompts.polarity.tolist() == [[1, -1], [1, 0]]
    assert prompts.points[1].tolist() == [[-4, 2, 3], [5, 6, 7]] and sources[1].tolist() == [[0.5, 2, 3], [5, 6, 7]]
    assert prompts.boxes.shape == (2, 1, 2, 3) and prompts.boxes[0].isnan().all()
    assert prompts.boxes[1, 0].tolist() == [[0, 0, 0], [1, 2, 3]] and prompts.tokens is None


def test_the_largest_part_is_one_component() -> None:
    assert np.array_equal(largest(LARGE | SMALL), LARGE)
    assert not largest(np.zeros(SHAPE, bool)).any()


def test_a_ball_of_one_voxel_has_its_six_neighbours() -> None:
    assert ball((5, 5, 5), (2, 2, 2), (1, 1, 1)).sum() == 7
    assert ball((5, 5, 5), (2, 2, 2), (0.5, 1, 2)).sum() == 1 + 2 + 4 + 0  # rows 1 away; columns 1 and 2 away


@pytest.mark.parametrize("target", [LARGE, np.zeros(SHAPE, bool)])
def test_corrupted_masks_differ_from_the_target(target: np.ndarray) -> None:
    made = [corrupted(target, TOKEN, np.random.default_rng(seed)) for seed in range(20)]
    assert all(mask.dtype == bool and mask.shape == SHAPE for mask in made)
    assert sum((mask != target).any() for mask in made) >= 18  # a shift may be rounded to none


def test_a_grown_window_knows_one_end_of_the_target_and_was_clicked_beyond_it() -> None:
    whole = np.ones((10, 10, 10), bool)
    for seed in range(20):
        known, outside = split_at_face(whole, np.random.default_rng(seed))
        axis = next(axis for axis in range(3) if known.all(tuple(other for other in range(3) if other != axis)).any())
        planes = known.any(tuple(other for other in range(3) if other != axis))
        assert 2 <= planes.sum() <= 6 and (planes[0] or planes[-1])
        moved = outside(np.full(3, 5.5))[axis]
        assert (10 <= moved <= 17) if planes[-1] else (-7 <= moved <= 0)
