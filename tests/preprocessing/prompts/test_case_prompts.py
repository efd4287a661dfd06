"""What a 2D network sees of points and boxes, told by hand."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.preprocessing.prompts.case_prompts import LabelPrompts

TILE = (8, 10)


def boxes_on(box: list[list[float]], slice_: int, origin: tuple[int, int] = (0, 0)) -> list:
    return LabelPrompts(boxes=np.array([box])).on_tile(slice_, origin, TILE)[1].tolist()


def test_a_point_is_seen_on_its_own_slice_and_on_tiles_that_hold_it() -> None:
    prompts = LabelPrompts(points=np.array([[2.5, 3.5, 9.5], [2.9, 7.9, 0.0], [3.0, 3.5, 9.5]]))
    assert prompts.on_tile(2, (0, 0), TILE)[0].tolist() == [[3.5, 9.5], [7.9, 0.0]]
    assert prompts.on_tile(3, (0, 0), TILE)[0].tolist() == [[3.5, 9.5]]
    assert prompts.on_tile(2, (2, 5), TILE)[0].tolist() == [[1.5, 4.5]]
    # A tile that begins outside the case: the first point is at row 5.5 and column 10.5 of it, beyond its ten columns.
    assert prompts.on_tile(2, (-2, -1), TILE)[0].tolist() == []
    assert len(prompts.on_tile(1, (0, 0), TILE)[0]) == 0 and len(prompts.on_tile(2, (0, 0), TILE)[1]) == 0


def test_points_of_a_tile_keep_whether_they_are_positive() -> None:
    places = np.array([[2.5, 3.5, 9.5], [1.5, 1.5, 1.5], [2.5, 4.5, 2.5], [2.5, 9.5, 2.5]])
    seen = LabelPrompts(points=places, positive=np.array([False, True, True, False])).on_tile(2, (0, 0), TILE)
    assert seen.points.tolist() == [[3.5, 9.5], [4.5, 2.5]] and seen.positive.tolist() == [False, True]
    assert LabelPrompts(points=places).on_tile(2, (0, 0), TILE).positive.tolist() == [True, True]


def test_a_box_is_the_same_on_every_slice_whose_middle_it_holds() -> None:
    box = [[1.4, 2, 3], [3.6, 6, 7]]
    assert [boxes_on(box, slice_) for slice_ in range(5)] == [[], *[[[[2, 3], [6, 7]]]] * 3, []]


@pytest.mark.parametrize("ends", [(2.6, 3.4), (3.0, 3.0), (2.7, 3.4999)])
def test_a_box_between_two_middles_belongs_to_one_slice(ends) -> None:
    seen = [slice_ for slice_ in range(6) if boxes_on([[ends[0], 2, 3], [ends[1], 6, 7]], slice_)]
    assert seen == [int(np.mean(ends))]


def test_a_box_is_cut_to_its_tile() -> None:
    box = [[0, 2, 3], [1, 6, 14]]
    assert boxes_on(box, 0) == [[[2, 3], [6, 10]]]
    assert boxes_on(box, 0, (4, 5)) == [[[0, 0], [2, 9]]]
    assert boxes_on(box, 0, (6, 0)) == []  # it ends where the tile begins
