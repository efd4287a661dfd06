"""Where windows lie, worked out by hand."""

from __future__ import annotations

import pytest

from samunet.planning.tiles import window_starts


@pytest.mark.parametrize("size, window, step, starts", [
    (10, 10, 0.5, [0]),
    (7, 10, 0.5, [0]),
    (20, 10, 0.5, [0, 5, 10]),
    (21, 10, 0.5, [0, 4, 7, 11]),  # three steps of 3.67
    (20, 10, 1.0, [0, 10]),
    (4, 1, 0.5, [0, 1, 2, 3]),  # half of a slice is no step
    (5, 2, 0.25, [0, 1, 2, 3]),
])
def test_windows_reach_from_end_to_end_and_none_is_visited_twice(size: int, window: int, step: float, starts: list[int]) -> None:
    assert window_starts(size, window, step) == starts
