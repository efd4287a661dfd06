"""Crop to the box of non-zero voxels, by nnU-Net v2's rule."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

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
    mask = _filled((image != 0).any(axis=0))
    window = _window(mask)
    outside = ~mask[window][None]
    if segmentation is None:
        cropped = np.where(outside, np.int16(OUTSIDE), np.int16(0))
    else:
        cropped = segmentation[(slice(None), *window)].astype(np.int16)
        cropped[(cropped == 0) & outside] = OUTSIDE
    bbox = tuple((int(part.start), int(part.stop)) for part in window)
    return image[(slice(None), *window)], cropped, bbox


def _filled(mask: np.ndarray) -> np.ndarray:
    """bool (Z, Y, X) with its holes: what is not connected to the array's border by faces.

    ITK's filter, which gives what scipy.ndimage.binary_fill_holes gives; importing the latter takes longer than
    reading and cropping a small case.
    """
    if mask.all():
        return mask
    filled = sitk.BinaryFillhole(sitk.GetImageFromArray(mask.view(np.uint8)), False, 1)
    array: np.ndarray = sitk.GetArrayFromImage(filled).view(bool)
    return array


def _window(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest box that holds `mask`; all of it where nothing is true."""
    if not mask.any():
        return tuple(slice(0, size) for size in mask.shape)
    shadows = [np.flatnonzero(mask.any(axis=tuple(other for other in range(3) if other != axis))) for axis in range(3)]
    return tuple(slice(int(shadow[0]), int(shadow[-1]) + 1) for shadow in shadows)
