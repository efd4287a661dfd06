from __future__ import annotations

import numpy as np
import pytest
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero as nnunet_crop
from scipy.ndimage import binary_fill_holes

from samunet.dataset.crop import crop_to_nonzero


def test_by_hand():
    image = np.zeros((2, 3, 5, 6), np.float32)
    image[0, 1, 1, 2] = 1
    image[1, 1, 3, 4] = -2
    segmentation = np.zeros((1, 3, 5, 6), np.int16)
    segmentation[0, 1, 2, 2] = 3
    before = segmentation.copy()
    cropped, cropped_segmentation, bbox = crop_to_nonzero(image, segmentation)
    assert bbox == ((1, 2), (1, 4), (2, 5))
    np.testing.assert_array_equal(cropped, image[:, 1:2, 1:4, 2:5])
    assert cropped_segmentation.dtype == np.int16
    np.testing.assert_array_equal(cropped_segmentation[0, 0], [[0, -1, -1], [3, -1, -1], [-1, -1, 0]])
    np.testing.assert_array_equal(segmentation, before)


def test_holes_are_filled():
    image = np.ones((1, 5, 5, 5), np.float32)
    image[0, 2, 2, 2] = 0
    _, mask, bbox = crop_to_nonzero(image, None)
    assert bbox == ((0, 5), (0, 5), (0, 5))
    assert mask.dtype == np.int16 and not mask.any()


def test_an_image_of_zeros_is_kept_whole():
    image = np.zeros((1, 2, 3, 4), np.float32)
    cropped, mask, bbox = crop_to_nonzero(image, None)
    assert (cropped.shape, bbox) == ((1, 2, 3, 4), ((0, 2), (0, 3), (0, 4)))
    assert (mask == -1).all()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("labelled", [True, False])
def test_as_nnunet(seed, labelled):
    rng = np.random.default_rng(seed)
    image = np.zeros((2, 9, 14, 12), np.float32)
    inner = image[:, 2:7, 3:11, 1:9]
    inner[...] = rng.normal(size=inner.shape) * (rng.random(inner.shape) < 0.5)
    segmentation = rng.integers(0, 3, (1, 9, 14, 12)).astype(np.int16) if labelled else None
    expected = nnunet_crop(image.copy(), None if segmentation is None else segmentation.copy())
    ours = crop_to_nonzero(image, segmentation)
    np.testing.assert_array_equal(ours[0], expected[0])
    np.testing.assert_array_equal(ours[1], expected[1])
    assert ours[2] == tuple(tuple(part) for part in expected[2])


def test_holes_are_those_of_scipy():
    rng = np.random.default_rng(0)
    for _ in range(300):
        image = (rng.random((1, *rng.integers(1, 8, 3))) < rng.random()).astype(np.float32)
        filled = binary_fill_holes(image[0] > 0)
        _, mask, bbox = crop_to_nonzero(image, None)
        window = tuple(slice(*part) for part in bbox)
        np.testing.assert_array_equal(mask[0] == 0, filled[window])
        assert filled.sum() == filled[window].sum()
