"""The box of a mask, and its connected parts: the one at a voxel, those that touch another mask.

Voxels connect by their faces.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects, label


def bounding_region(found: np.ndarray) -> tuple[slice, ...] | None:
    """The smallest box that holds all True values of a bool array; None where there is none."""
    boxes = find_objects(found.view(np.uint8), 1)
    return boxes[0] if boxes else None


def part_at(mask: np.ndarray, voxel: Sequence[int]) -> np.ndarray:
    """The part of `mask` bool (Z, Y, X) that holds `voxel`, one of its voxels."""
    found = np.zeros_like(mask)
    # Parts are labelled in the mask's box alone, which is small in a large case.
    box = find_objects(mask.astype(np.uint8))[0]
    parts, _ = label(mask[box])
    found[box] = parts == parts[tuple(place - each.start for place, each in zip(voxel, box, strict=True))]
    return found


def in_middle(part: np.ndarray, voxel: Sequence[int]) -> bool:
    """Whether `voxel` is at least half as deep in `part` bool (Z, Y, X) as the deepest one. Beyond the case is outside.
    """
    box = find_objects(part.astype(np.uint8))[0]
    depth = distance_transform_edt(np.pad(part[box], 1))[1:-1, 1:-1, 1:-1]
    return bool(2 * depth[tuple(place - each.start for place, each in zip(voxel, box, strict=True))] >= depth.max())


def touching(mask: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The parts of `mask` bool (Z, Y, X) that overlap `other` or share a face with it."""
    parts, _ = label(mask)
    near = np.unique(parts[binary_dilation(other)])
    return np.isin(parts, near[near > 0])
