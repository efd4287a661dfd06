"""Grids compared in space, by corners."""

import math

import numpy as np
import pytest

from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import (
    Turn,
    affine_mm,
    corner_distance_mm,
    corner_distance_voxels,
    only_shifted,
    same_grid,
    same_spacing,
    turn_between,
)

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def grid(shape=(4, 10, 20), spacing=(3.0, 1.0, 2.0), origin=(5.0, 6.0, 7.0), direction=IDENTITY):
    return Geometry("SimpleITKIO", shape, spacing, origin, direction)


def test_the_affine_takes_a_voxel_to_its_place_in_mm():
    # Voxel z 1, y 2, x 3 of spacing 3, 1, 2 lies at x 5 + 6, y 6 + 2, z 7 + 3.
    np.testing.assert_allclose(affine_mm(grid()) @ (1, 2, 3, 1), (11, 8, 10, 1))


def test_a_shift_is_measured_in_voxels_of_its_axis():
    assert corner_distance_voxels(grid(), grid(origin=(5.0, 6.0, 7.03))) == pytest.approx(0.01, rel=1e-3)
    assert same_grid(grid(), grid(origin=(5.0, 6.0, 7.0299)))
    assert not same_grid(grid(), grid(origin=(5.0, 6.0, 7.0301)))
    assert not same_grid(grid(), grid(origin=(5.0203, 6.0, 7.0)))


def test_a_small_rotation_counts_at_the_far_corner():
    turned = math.cos(0.01), -math.sin(0.01), 0.0, math.sin(0.01), math.cos(0.01), 0.0, 0.0, 0.0, 1.0
    # The far corner x = 39 mm moves by 39 * sin(0.01) - 0.5 along y, of 1 mm voxels.
    assert corner_distance_voxels(grid(), grid(direction=turned)) == pytest.approx(39 * math.sin(0.01), rel=0.01)


def about_z(angle: float) -> tuple[float, ...]:
    return math.cos(angle), -math.sin(angle), 0.0, math.sin(angle), math.cos(angle), 0.0, 0.0, 0.0, 1.0


def test_the_distance_in_mm_is_of_all_axes_together():
    assert corner_distance_mm(grid(), grid(origin=(8.0, 10.0, 7.0))) == pytest.approx(5)  # 3 and 4 mm
    # The far outer corner of 20 columns lies 19.5 voxels from the first column's middle.
    assert corner_distance_mm(grid(), grid(spacing=(3.0, 1.0, 2.1))) == pytest.approx(19.5 * 0.1)


def test_a_shift_of_any_length_is_only_a_shift():
    assert only_shifted(grid(), grid(origin=(500.0, 6.0, 7.0)))
    # Centre on centre the corners are at x 20 mm, so 0.02 radians move them by 0.4 mm along y, whose voxels have 1 mm.
    assert only_shifted(grid(), grid(direction=about_z(0.02)))
    assert not only_shifted(grid(), grid(direction=about_z(0.03)))
    assert not only_shifted(grid(), grid(direction=(-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)))


def test_spacings_agree_to_a_hundredth_of_a_voxel_at_the_ends():
    # Half of 20 columns of 2 mm: a thousandth more makes a hundredth of a voxel.
    assert same_spacing(grid(), grid(spacing=(3.0, 1.0, 2.0019)))
    assert not same_spacing(grid(), grid(spacing=(3.0, 1.0, 2.0021)))
    assert not only_shifted(grid(), grid(spacing=(3.0, 1.0, 2.0021)))
    # The thickness of a single slice moves no voxel, but it is another thickness.
    assert not only_shifted(grid(shape=(1, 10, 20)), grid(shape=(1, 10, 20), spacing=(4.0, 1.0, 2.0)))


def test_spacing_counts_along_an_axis_of_one_voxel():
    assert not same_grid(grid(shape=(1, 10, 20)), grid(shape=(1, 10, 20), spacing=(4.0, 1.0, 2.0)))
    assert not same_grid(grid(), grid(shape=(4, 20, 10)))


def test_float32_rounding_far_from_the_origin_is_no_difference():
    fine = {"shape": (4, 10, 20), "spacing": (0.01, 0.01, 0.01)}
    far = 100_000.003
    assert abs(float(np.float32(far)) - far) > 0.002  # a fifth of a voxel
    assert same_grid(grid(origin=(far, 0.0, 0.0), **fine), grid(origin=(float(np.float32(far)), 0.0, 0.0), **fine))
    assert not same_grid(grid(origin=(0.0, 0.0, 0.0), **fine), grid(origin=(0.001, 0.0, 0.0), **fine))


def test_files_without_place_compare_by_spacing():
    natural = Geometry("NaturalImage2DIO", (1, 5, 6), (999.0, 1.0, 1.0))
    assert same_grid(natural, natural)
    assert not same_grid(natural, Geometry("NaturalImage2DIO", (1, 5, 6), (999.0, 1.0, 1.1)))


@pytest.mark.parametrize("turn", [Turn(), Turn((2, 0, 1), (False, True, False)), Turn((1, 0, 2), (True, True, True))])
def test_a_turn_and_its_inverse_move_voxels_back(turn):
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    np.testing.assert_array_equal(turn.inverse.apply(turn.apply(array)), array)


def test_a_mirrored_and_permuted_grid_is_turned_voxel_by_voxel():
    """The same places stored with x reversed, and y and z swapped: each voxel keeps its place in mm."""
    source = grid()
    # Stored axes (z, y, x) = (old y, old z, old x reversed): x runs from 5 + 2 * 19 down.
    target = grid(shape=(10, 4, 20), spacing=(1.0, 3.0, 2.0), origin=(43.0, 6.0, 7.0),
                  direction=(-1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0))
    turn = turn_between(source, target)
    assert turn == Turn((1, 0, 2), (False, False, True))
    array = np.arange(4 * 10 * 20).reshape(4, 10, 20)
    assert turn.apply(array)[2, 1, 0] == array[1, 2, 19]
    np.testing.assert_allclose(affine_mm(target) @ (2, 1, 0, 1), affine_mm(source) @ (1, 2, 19, 1))


def test_a_grid_that_needs_interpolation_has_no_turn():
    assert turn_between(grid(), grid(origin=(6.0, 6.0, 7.0))) is None
    assert turn_between(grid(), grid(spacing=(3.0, 1.1, 2.0))) is None
    turned = math.cos(0.1), -math.sin(0.1), 0.0, math.sin(0.1), math.cos(0.1), 0.0, 0.0, 0.0, 1.0
    assert turn_between(grid(), grid(direction=turned)) is None
