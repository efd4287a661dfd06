"""Non-local label fusion: each voxel takes the labels of nearby voxels of a registered image that look like it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from scipy.ndimage import gaussian_filter

SEARCH_VOXELS, REACH_VOXELS = 2, 3.0  # along an axis, and as a distance
WINDOW_VOXELS, WINDOW_TRUNCATED = 1.0, 3.0  # standard deviation of the Gaussian window; its radius in these
POWER = 4.0
FLOOR = 1e-3


def nonlocal_votes(fixed: np.ndarray, moved: np.ndarray, masks: np.ndarray, search: int = SEARCH_VOXELS) -> np.ndarray:
    """Votes of one registered support, summed over the voxels within reach of each voxel.

    Patch-based segmentation (Coupe et al., NeuroImage 54, 2011; Rousseau et al., IEEE TMI 30, 2011) after registration:
    a voxel votes with an inverse power of its patch's mean squared intensity difference d, (d + FLOOR) ** -POWER, where
    the patch is a Gaussian window. So voxels that registration displaced by one or two still vote correctly.
    Differences: no preselection of patches, an inverse power instead of the Gaussian likelihood.

    Arguments:
        fixed: the target, float32 (z, y, x), intensities about 0 to 1.
        moved: the support's image on its grid, float32.
        masks: what the support votes for, on the same grid, float32 (M, z, y, x).
        search: voxels along an axis; 0: each voxel takes the label at its own position.

    Returns:
        float32 (M, z, y, x): the masks weighted and summed; a mask of ones gives the sum of the weights.
    """
    reach = [min(search, size - 1) for size in fixed.shape]
    sides = [(each, each) for each in reach]
    moved, masks = np.pad(moved, sides, mode="edge"), np.pad(masks, [(0, 0), *sides], mode="edge")
    votes = np.zeros((len(masks), *fixed.shape), np.float32)
    for place in _places(reach, fixed.shape):
        difference = gaussian_filter((fixed - moved[place]) ** 2, WINDOW_VOXELS, truncate=WINDOW_TRUNCATED)
        votes += (difference + FLOOR) ** -POWER * masks[(slice(None), *place)]
    return votes


def _places(reach: Sequence[int], shape: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """The parts of an array padded by `reach` that are shifted against the array by a step within reach."""
    for step in product(*(range(-each, each + 1) for each in reach)):
        if sum(length**2 for length in step) <= REACH_VOXELS**2:
            yield tuple(slice(each + length, each + length + size)
                        for each, length, size in zip(reach, step, shape, strict=True))
