"""Resampling to another voxel spacing: nnU-Net v2's rule, one channel at a time and without its float64 copies.

Source of the rule: nnunetv2/preprocessing/resampling/default_resampling.py (2.8.1). Grids are aligned by their outer
edges (skimage's convention), not by their first voxel centres. Where spacings are anisotropic, slices are resized
in-plane and then picked along the coarse axis by nearest neighbour, since interpolating between far slices invents
anatomy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samunet.planning.spacing import Shape, Three, resampled_shape

ANISOTROPY = 3.0
SEGMENTATION_ORDER = 1


def new_shape(shape: Shape, spacing_mm: Three, new_spacing_mm: Three) -> Shape:
    """The shape (z, y, x) that `shape` has at the new spacing: the planned one (`resampled_shape`), at least 1."""
    first, second, third = (max(size, 1) for size in resampled_shape(shape, spacing_mm, new_spacing_mm))
    return first, second, third


def separate_axis(spacing_mm: Sequence[float], new_spacing_mm: Sequence[float]) -> int | None:
    """The axis that is resampled apart from the others, or None.

    It is the coarsest axis of the old spacing where that is anisotropic (largest over smallest spacing above 3), else
    of the new one. Where two axes share the coarsest spacing there is none.
    """
    for spacing in (spacing_mm, new_spacing_mm):
        if max(spacing) / min(spacing) > ANISOTROPY:
            coarsest = [axis for axis in range(3) if spacing[axis] == max(spacing)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


def nearest_indices(size: int, new_size: int) -> np.ndarray:
    """For each of `new_size` voxels along an axis, the index (int64) of the nearest of `size` old ones.

    Edges aligned; a voxel half-way takes the later one (scipy.ndimage.map_coordinates at order 0).
    """
    centres = size / new_size * (np.arange(new_size) + 0.5) - 0.5
    return np.clip(np.floor(centres + 0.5).astype(np.int64), 0, size - 1)


def resample(
    array: np.ndarray,
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    new_spacing_mm: Sequence[float],
    *,
    is_segmentation: bool,
    order: int = 3,
) -> np.ndarray:
    """Resample `array` to `shape`. Returns the array itself where the shape is already right.

    Arguments:
        array: (C, Z, Y, X), float32 for images, an integer type for segmentations (negative values allowed).
        shape: (z, y, x) to reach, usually `new_shape(...)`.
        spacing_mm, new_spacing_mm: (z, y, x); they only decide whether one axis is separate.
        is_segmentation: each label's indicator is interpolated on its own (order 1) and the largest wins.
        order: spline order of images, in-plane only where an axis is separate (that axis then takes the nearest slice).
    """
    if tuple(array.shape[1:]) == tuple(shape):
        return array
    axis = separate_axis(spacing_mm, new_spacing_mm)
    result = np.empty((array.shape[0], *shape), array.dtype)
    for channel in range(array.shape[0]):
        if axis is None:
            result[channel] = _resize(array[channel], shape, is_segmentation, order)
        else:
            _resize_separately(array[channel], result[channel], axis, is_segmentation, order)
    return result


def _resize_separately(
    array: np.ndarray, result: np.ndarray, axis: int, is_segmentation: bool, order: int
) -> None:
    """Fill `result` slice by slice along `axis`; every old slice is resized at most once, and unused ones never."""
    slices, results = np.moveaxis(array, axis, 0), np.moveaxis(result, axis, 0)
    resized, resized_from = slices[0], -1
    for place, source in enumerate(nearest_indices(len(slices), len(results))):
        if source != resized_from:
            resized, resized_from = _resize(slices[source], results.shape[1:], is_segmentation, order), source
        results[place] = resized


def _resize(array: np.ndarray, shape: Sequence[int], is_segmentation: bool, order: int) -> np.ndarray:
    if array.shape == tuple(shape):
        return array
    if is_segmentation:
        from batchgenerators.augmentations.utils import resize_segmentation  # imports pandas

        resized: np.ndarray = resize_segmentation(array, tuple(shape), SEGMENTATION_ORDER)
        return resized
    from skimage.transform import resize  # imports scipy.ndimage; images on the plan's grid do without

    return resize(array, tuple(shape), order, mode="edge", anti_aliasing=False)
