"""Small components are removed by their volume in ml, class by class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import voxel_volume_ml
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference.small_blobs import without_small_blobs

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2, "ignore": 3})
# 10 x 10 x 2 mm: a voxel has 0.2 ml
GRID = Geometry("SimpleITKIO", (1, 4, 8), (2.0, 10.0, 10.0), (0.0, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
BEFORE = np.array([[[1, 1, 0, 0, 1, 0, 2, 2],
                    [1, 0, 0, 0, 0, 1, 2, 2],
                    [0, 0, 0, 0, 0, 0, 0, 0],
                    [2, 0, 3, 0, 1, 0, 0, 2]]], np.uint8)


def test_components_below_the_volume_become_background() -> None:
    """In voxels: label 1 has 3, 2 (touching at a corner) and 1; label 2 has 4, 1 and 1. 0.6 ml are 3 voxels."""
    expected = np.array([[[1, 1, 0, 0, 0, 0, 2, 2],
                          [1, 0, 0, 0, 0, 0, 2, 2],
                          [0, 0, 0, 0, 0, 0, 0, 0],
                          [0, 0, 3, 0, 0, 0, 0, 0]]], np.uint8)
    before = BEFORE.copy()
    np.testing.assert_array_equal(without_small_blobs(before, GRID, LABELS, 0.6, "case"), expected)
    np.testing.assert_array_equal(before, BEFORE)
    assert (without_small_blobs(before, GRID, LABELS, 0.61, "case") == 1).sum() == 0
    assert (without_small_blobs(before, GRID, LABELS, 0.4, "case") == 1).sum() == 5  # the corner joins two voxels
    np.testing.assert_array_equal(without_small_blobs(before, GRID, LABELS, 0.2, "case"), BEFORE)
    of_7_mm3 = replace(GRID, spacing_mm=(7.0, 1.0, 1.0))  # in binary a little less than 0.007 ml
    np.testing.assert_array_equal(without_small_blobs(before, of_7_mm3, LABELS, 0.021, "case"), expected)


def test_a_small_core_becomes_the_region_around_it() -> None:
    labels = LabelSpace({"background": 0, "whole": (1, 2), "core": (2,)}, (1, 2))
    before = np.array([[[1, 1, 1, 0, 2, 2], [1, 2, 1, 0, 2, 2], [0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 0, 0]]], np.uint8)
    after = np.array([[[1, 1, 1, 0, 2, 2], [1, 1, 1, 0, 2, 2], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]]], np.uint8)
    grid = replace(GRID, shape=(1, 4, 6))
    np.testing.assert_array_equal(without_small_blobs(before, grid, labels, 0.8, "case"), after)


def test_volume_of_a_voxel_counts_shear_and_is_none_of_2d_files() -> None:
    assert voxel_volume_ml(GRID) == pytest.approx(0.2)
    sheared = replace(GRID, direction=(1.0, 0, 0, 0, 1.0, 0.6, 0, 0, 0.8))  # the slice axis leans: 0.8 of the height
    assert voxel_volume_ml(sheared) == pytest.approx(0.16)
    flat = Geometry("NaturalImage2DIO", (1, 4, 8), (999.0, 1.0, 1.0))
    assert np.isnan(voxel_volume_ml(flat))
    with pytest.raises(UserError, match="needs volumes"):
        without_small_blobs(BEFORE, flat, LABELS, 1.0, "case")
