"""Crop to the box of non-zero voxels, by nnU-Net v2's rule."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import binary_fill_holes, find_objects

from samunet.dataset.labels import OUTSIDE

BoundingBox = tuple[tuple[int, int], ...]


def crop_to_nonzero(
    image: np.ndarray, segmentation: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, BoundingBox]:
    """Crop `image` (C, Z, Y, X) to the smallest box that holds every voxel that is non-zero in any channel.

    Holes of the non-zero mask are filled first. Arguments are not changed; the returned image is a view.

    Arguments:
        segmentation: integer (1, Z, Y, X) or None.

    Returns:
        The cropped image; the cropped segmentation as int16 with -1 where it was 0 and outside the mask (without a
        segmentation: 0 inside, -1 outside); the half-open box ((low, high), ...). Where every voxel is zero, the box
        is the whole array.
    """
    mask = binary_fill_holes((image != 0).any(axis=0))
    found = find_objects(mask.astype(np.uint8), 1)[0] if mask.any() else None
    window = found or tuple(slice(0, size) for size in mask.shape)
    outside = ~mask[window][None]
    if segmentation is None:
        cropped = np.where(outside, np.int16(OUTSIDE), np.int16(0))
    else:
        cropped = segmentation[(slice(None), *window)].astype(np.int16)
        cropped[(cropped == 0) & outside] = OUTSIDE
    bbox = tuple((int(part.start), int(part.stop)) for part in window)
    return image[(slice(None), *window)], cropped, bbox
