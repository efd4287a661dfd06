"""Surface elements: values by hand, then every code against the surface-distance package."""

from __future__ import annotations

import numpy as np
import pytest
from surface_distance import lookup_tables

from samunet.evaluation.surface_elements import element_sizes, neighbour_codes

SPACINGS_3D = [(1.0, 1.0, 1.0), (5.0, 0.7, 0.8), (1.0, 2.0, 5.0), (0.3, 0.2, 0.1), (1.2, 1.2, 1.2), (0.625, 3.0, 0.625)]


def test_codes_of_one_voxel_are_single_bits_at_its_eight_corners():
    codes = neighbour_codes(np.ones((1, 1, 1), bool))
    assert codes.tolist() == [[[1, 2], [4, 8]], [[16, 32], [64, 128]]]


def test_codes_of_one_pixel_are_single_bits_at_its_four_corners():
    assert neighbour_codes(np.ones((1, 1), bool)).tolist() == [[1, 2], [4, 8]]


def test_areas_by_hand():
    z_mm, y_mm, x_mm = 2.0, 3.0, 5.0
    areas = element_sizes((z_mm, y_mm, x_mm))
    assert areas[0] == areas[255] == 0
    # Upper slice inside, lower outside: a flat square.
    assert areas[0b11110000] == pytest.approx(y_mm * x_mm)
    assert areas[0b11001100] == pytest.approx(z_mm * x_mm)
    assert areas[0b10101010] == pytest.approx(z_mm * y_mm)
    # One voxel: a triangle through the midpoints of three edges, an eighth of an octahedron.
    triangle = 0.5 * np.linalg.norm(np.cross([z_mm / 2, -y_mm / 2, 0], [z_mm / 2, 0, -x_mm / 2]))
    assert areas[0b10000000] == pytest.approx(triangle)
    # Two voxels at opposite corners: two triangles, and so for the holes of the complement.
    assert areas[0b10000001] == areas[0b01111110] == pytest.approx(2 * triangle)
    # Two voxels side by side along x: a rectangle cut diagonally through z and y.
    assert areas[0b11000000] == pytest.approx(x_mm * np.hypot(z_mm / 2, y_mm / 2))


def test_contour_lengths_by_hand():
    lengths = element_sizes((3.0, 4.0))
    assert lengths[0b0101] == 3.0 and lengths[0b0011] == 4.0
    assert lengths[0b1000] == lengths[0b0111] == 2.5
    assert lengths[0b1001] == lengths[0b0110] == 5.0
    assert lengths[0] == lengths[15] == 0


@pytest.mark.parametrize("spacing_mm", SPACINGS_3D)
def test_all_256_areas_equal_the_package(spacing_mm):
    expected = lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm)
    np.testing.assert_allclose(element_sizes(spacing_mm), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0), (0.7, 0.8), (3.0, 4.0), (0.1, 9.0)])
def test_all_16_lengths_equal_the_package(spacing_mm):
    expected = lookup_tables.create_table_neighbour_code_to_contour_length(spacing_mm)
    np.testing.assert_allclose(element_sizes(spacing_mm), expected, rtol=1e-13, atol=0)


def test_cached_sizes_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        element_sizes((1.0, 1.0, 1.0))[0] = 1
