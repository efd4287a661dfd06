"""Largest connected components of a segmentation, by acvl_utils."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice, get_bbox_from_mask
from acvl_utils.morphology.morphology_helper import remove_all_but_largest_component


def keep_largest(segmentation: np.ndarray, values: Sequence[int]) -> np.ndarray:
    """Set to background what belongs to `values` and not to the largest component of all of them together.

    Voxels that share a corner are connected; of components of equal size all stay. This is nnU-Net's rule
    (postprocessing/remove_connected_components.py, 2.8.1).

    Arguments:
        segmentation: integer (Z, Y, X).
        values: one label, or those of a region or of the whole foreground.

    Returns:
        A copy, or `segmentation` itself where nothing has these values.
    """
    mask = np.isin(segmentation, list(values))
    if not mask.any():
        return segmentation
    box = bounding_box_to_slice(get_bbox_from_mask(mask))
    largest = remove_all_but_largest_component(mask[box])
    result = segmentation.copy()
    result[box][mask[box] & ~largest] = 0
    return result


def keep_largest_of_each(segmentation: np.ndarray, steps: Sequence[Sequence[int]]) -> np.ndarray:
    """`keep_largest` for every step, in order."""
    for values in steps:
        segmentation = keep_largest(segmentation, values)
    return segmentation
