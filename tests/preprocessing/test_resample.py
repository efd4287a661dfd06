"""Resampling: shapes and values by hand, then nnU-Net's default_resampling."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.preprocessing.resample import nearest_indices, new_shape, resample, separate_axis


def test_new_shape_by_hand():
    assert new_shape((10, 100, 50), (3, 1, 1), (1.5, 2, 1)) == (20, 50, 50)
    assert new_shape((5, 5, 5), (1, 1, 1), (2, 2, 2)) == (2, 2, 2)  # 2.5 rounds to even, as in nnU-Net
    assert new_shape((1, 4, 4), (1, 1, 1), (5, 1, 1)) == (1, 4, 4)  # never an axis without voxels


@pytest.mark.parametrize(
    ("old", "new", "axis"),
    [
        ((1, 1, 1), (2, 2, 2), None),
        ((3, 1, 1), (3, 1, 1), None),  # exactly 3 is not anisotropic
        ((5, 1, 1), (1, 1, 1), 0),
        ((1, 1, 1), (1, 1, 4), 2),
        ((1, 4, 1), (5, 1, 1), 1),  # the old spacing decides first
        ((0.24, 1.25, 1.25), (1, 1, 1), None),  # two coarsest axes
        ((999, 1, 1), (999, 1, 1), 0),
    ],
)
def test_separate_axis_by_hand(old, new, axis):
    assert separate_axis(old, new) == axis


def test_nearest_indices_by_hand():
    assert nearest_indices(4, 2).tolist() == [1, 3]  # centres 0.5 and 2.5: half-way takes the later
    assert nearest_indices(2, 4).tolist() == [0, 0, 1, 1]
    assert nearest_indices(3, 5).tolist() == [0, 0, 1, 2, 2]
    assert nearest_indices(1, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("sizes", [(4, 2), (2, 4), (7, 3), (9, 14), (30, 10), (13, 26), (100, 37), (5, 5), (1, 6)])
def test_nearest_indices_equal_scipy(sizes):
    from scipy.ndimage import map_coordinates

    size, shape = sizes
    centres = size / shape * (np.arange(shape) + 0.5) - 0.5
    expected = map_coordinates(np.arange(size, dtype=float), centres[None], order=0, mode="nearest")
    assert nearest_indices(size, shape).tolist() == expected.tolist()


def test_the_same_shape_returns_the_array_itself():
    array = np.random.default_rng(0).random((1, 3, 4, 5), np.float32)
    assert resample(array, (3, 4, 5), (1, 1, 1), (1, 1, 1), is_segmentation=False) is array


def test_a_linear_ramp_is_halved_by_hand():
    ramp = np.broadcast_to(np.arange(8, dtype=np.float32), (1, 8, 8, 8)).copy()
    halved = resample(ramp, (8, 8, 4), (1, 1, 1), (1, 1, 2), is_segmentation=False, order=1)
    assert halved.dtype == np.float32
    np.testing.assert_allclose(halved[0, 3, 3], [0.5, 2.5, 4.5, 6.5], atol=1e-6)


def test_labels_of_a_separate_axis_are_picked_by_hand():
    labels = np.array([0, 2, 1, -1], np.int16).reshape(1, 4, 1, 1) * np.ones((1, 1, 3, 3), np.int16)
    picked = resample(labels, (2, 3, 3), (5, 1, 1), (10, 1, 1), is_segmentation=True)
    assert picked.dtype == np.int16
    assert picked[0, :, 0, 0].tolist() == [2, -1]


def test_no_label_is_invented_between_two_others():
    labels = np.zeros((1, 4, 4, 4), np.int16)
    labels[..., 2:] = 2
    finer = resample(labels, (8, 8, 9), (1, 1, 1), (0.5, 0.5, 4 / 9), is_segmentation=True)
    assert set(np.unique(finer)) == {0, 2}


# old shape, old spacing, new spacing
GRIDS = {
    "isotropic_coarser": ((12, 14, 10), (1, 1, 1), (1.3, 1.2, 1.4)),
    "isotropic_finer": ((8, 9, 7), (1.5, 1.5, 1.5), (1, 1, 1)),
    "separate_in_plane_only": ((6, 14, 12), (5, 1, 1), (5, 1.25, 1.25)),
    "separate_finer_slices": ((6, 14, 12), (6, 1, 1), (4, 1.3, 0.8)),
    "separate_slices_only": ((9, 11, 12), (4, 1, 1), (6, 1, 1)),
    "separate_by_new_spacing": ((12, 9, 9), (2, 1, 1), (5, 1.1, 1.1)),
    "separate_last_axis": ((12, 9, 6), (1, 1, 5), (1.2, 1.2, 4)),
    "separate_middle_axis": ((12, 6, 9), (1, 5, 1), (1.2, 4, 1.2)),
    "two_coarse_axes": ((12, 6, 6), (0.3, 1.2, 1.2), (0.5, 1, 1)),
    "tie_of_halves": ((8, 8, 8), (4, 1, 1), (8, 2, 2)),
}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("order", [3, 1])
def test_images_equal_nnunet(grid, order):
    theirs = pytest.importorskip("nnunetv2.preprocessing.resampling.default_resampling")
    shape, old, new = GRIDS[grid]
    image = np.random.default_rng(5).normal(0, 2, (2, *shape)).astype(np.float32)
    target = new_shape(shape, old, new)
    assert target == tuple(theirs.compute_new_shape(shape, old, new))
    expected = theirs.resample_data_or_seg_to_shape(
        image, target, old, new, is_seg=False, order=order, order_z=0, force_separate_z=None
    )
    made = resample(image, target, old, new, is_segmentation=False, order=order)
    assert made.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(made, expected, atol=1e-5)


@pytest.mark.parametrize("grid", GRIDS)
def test_segmentations_equal_nnunet(grid):
    theirs = pytest.importorskip("nnunetv2.preprocessing.resampling.default_resampling")
    shape, old, new = GRIDS[grid]
    segmentation = np.random.default_rng(6).integers(-1, 4, (1, *shape)).astype(np.int16)
    target = new_shape(shape, old, new)
    expected = theirs.resample_data_or_seg_to_shape(
        segmentation, target, old, new, is_seg=True, order=1, order_z=0, force_separate_z=None
    )
    made = resample(segmentation, target, old, new, is_segmentation=True)
    assert made.dtype == np.int16
    np.testing.assert_array_equal(made, expected)
