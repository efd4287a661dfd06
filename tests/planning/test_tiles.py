"""Where windows lie, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.planning.tiles import TileFrame, window_starts


@pytest.mark.parametrize("size, window, step, starts", [
    (10, 10, 0.5, [0]),
    (7, 10, 0.5, [0]),
    (20, 10, 0.5, [0, 5, 10]),
    (21, 10, 0.5, [0, 4, 7, 11]),  # three steps of 3.67
    (20, 10, 1.0, [0, 10]),
    (4, 1, 0.5, [0, 1, 2, 3]),  # half of a slice is no step
    (5, 2, 0.25, [0, 1, 2, 3]),
])
def test_windows_reach_from_end_to_end_and_none_is_visited_twice(
    size: int, window: int, step: float, starts: list[int]
) -> None:
    assert window_starts(size, window, step) == starts


def test_of_an_odd_padding_the_larger_half_lies_behind_the_image() -> None:
    frame = TileFrame((3, 1), (4, 6), 1.0)
    assert frame.before == (0, 2)
    assert frame.cut(np.array([[1], [2], [3]]), 0, -1).tolist() == [
        [-1, -1, 1, -1, -1, -1], [-1, -1, 2, -1, -1, -1], [-1, -1, 3, -1, -1, -1], [-1, -1, -1, -1, -1, -1]]
    assert TileFrame((1, 3), (6, 4), 1.0).before == (2, 0)
    # An axis longer than the tile has no padding: its second tile ends where the image ends.
    assert TileFrame((3, 6), (4, 4), 0.5).starts == [(0, 0), (0, 2)]
    assert TileFrame((3, 6), (4, 4), 0.5).cut(np.arange(18).reshape(3, 6), 1, -1).tolist() == [
        [2, 3, 4, 5], [8, 9, 10, 11], [14, 15, 16, 17], [-1] * 4]
