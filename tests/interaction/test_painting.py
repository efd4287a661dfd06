"""Which voxels a brush paints, by hand: voxels of 3 x 1 x 2 mm (z, y, x)."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.interaction.actions import Stroke
from samunet.interaction.painting import brushed, voxels_of

SHAPE, SPACING = (6, 9, 8), (3.0, 1.0, 2.0)


def painted(places: list[tuple[float, float, float]], radius_mm: float, axis: int) -> set[tuple[int, int, int]]:
    region, inside = brushed(Stroke(tuple(places), "a", radius_mm, axis), SHAPE, SPACING)
    mask = np.zeros(SHAPE, bool)
    mask[region] = inside
    assert inside.shape[axis] == 1 and mask.sum() == inside.sum()
    return {tuple(voxel) for voxel in np.argwhere(mask).tolist()}


def test_a_radius_is_in_mm_along_each_axis() -> None:
    # 2 mm: two rows of 1 mm up and down, one column of 2 mm to each side; the diagonal (1 mm, 2 mm) is 2.24 mm away.
    assert painted([(2, 4, 3)], 2.0, 0) == {(2, row, 3) for row in range(2, 7)} | {(2, 4, 2), (2, 4, 4)}
    assert painted([(2, 4, 3)], 2.24, 0) == {(2, row, 3) for row in range(2, 7)} | {
        (2, row, column) for row in (3, 4, 5) for column in (2, 4)}
    # Across y, slices are 3 mm apart and columns 2 mm.
    assert painted([(2, 4, 3)], 2.0, 1) == {(2, 4, 2), (2, 4, 3), (2, 4, 4)}
    assert painted([(2, 4, 3)], 3.0, 2) == {(1, 4, 3), (3, 4, 3)} | {(2, row, 3) for row in range(1, 8)}


def test_radius_0_paints_the_voxels_of_the_places_and_those_that_the_path_crosses_in_their_middle() -> None:
    assert painted([(2, 4.4, 2.6)], 0.0, 0) == {(2, 4, 3)}
    assert painted([(2, 1, 1), (2, 1, 4)], 0.0, 0) == {(2, 1, column) for column in range(1, 5)}
    assert painted([(2, 0, 0), (2, 1, 3)], 0.0, 0) == {(2, 0, 0), (2, 1, 3)}


def test_a_path_is_a_line_between_places_and_ends_at_the_image() -> None:
    # From (y 1, x 0) to (y 5, x 0) and to (y 5, x 3); 1 mm reaches one row but no column.
    down = {(0, row, 0) for row in range(7)}
    right = {(0, row, column) for row in (4, 5, 6) for column in range(4)}
    assert painted([(0, 1, 0), (0, 5, 0), (0, 5, 3)], 1.0, 0) == down | right
    assert painted([(5, 8, 7)], 100.0, 0) == {(5, row, column) for row in range(9) for column in range(8)}


@pytest.mark.parametrize("place, voxel", [(-0.5, 0), (0.49, 0), (0.5, 1), (7.49, 7)])
def test_whole_numbers_are_the_middles_of_voxels(place: float, voxel: int) -> None:
    assert voxels_of(np.array([place])).tolist() == [voxel]
