"""Exact distances from many points of a grid to the nearest of many others, fast if most are close."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

REACH = 4  # how far the first search looks, in voxels of the finest axis
TREE_LEAF = 32  # points in a leaf: larger leaves are faster to build than small ones, and little slower to query
VOXELS_PER_POINT = 50  # a tree query for one point costs about as much as a distance transform of this many voxels


def nearest_distances_mm(points: np.ndarray, targets: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """For each true voxel of `points`, in C order, the distance to the nearest true voxel of `targets`.

    Most points of two similar surfaces find their target within a few steps. The others query a tree of the targets;
    if they are many, a distance transform of the whole grid is faster.

    Arguments:
        points, targets: boolean, same shape; `targets` has at least one true voxel.
        spacing_mm: one number an axis.

    Returns:
        float64, one distance a point.
    """
    rings = _rings_outwards(spacing_mm)
    margin = np.abs(np.concatenate([steps for steps, _ in rings])).max(axis=0)
    padded = np.pad(targets, [(width, width) for width in margin])
    here = np.flatnonzero(np.pad(points, [(width, width) for width in margin]))
    distances_mm, far = _search_near(here, padded, rings)
    if far.size == 0:
        return distances_mm
    places = _places(here[far], padded.shape)
    if far.size * VOXELS_PER_POINT < targets.size:
        target_places = _places(np.flatnonzero(padded), padded.shape)
        tree = KDTree(target_places * np.array(spacing_mm), TREE_LEAF, balanced_tree=False, compact_nodes=False)
        _, nearest = tree.query(places * np.array(spacing_mm))
        steps = target_places[nearest] - places
    else:
        # Computing only indices saves the distances of all voxels that are no points.
        places -= margin
        nearest = ndimage.distance_transform_edt(
            ~targets, sampling=spacing_mm, return_distances=False, return_indices=True
        )
        steps = nearest[(slice(None), *places.T)].T - places
    distances_mm[far] = _lengths_mm(steps, spacing_mm)
    return distances_mm


def _search_near(
    here: np.ndarray, padded: np.ndarray, rings: tuple[tuple[np.ndarray, float], ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Search outwards from all points at once, ring by ring.

    Arguments:
        here: indices of the points in `padded`, flattened. padded: the targets, with room for every step.

    Returns:
        Distances, and the numbers of the points that found no target.
    """
    strides = np.array(padded.strides)  # of a boolean array: its bytes are its elements
    is_target = padded.ravel()
    distances_mm = np.zeros(len(here))
    waiting = np.arange(len(here))
    for steps, length_mm in rings:
        first, *others = (steps @ strides).tolist()
        met = is_target.take(here + first)
        for step in others:
            met |= is_target.take(here + step)
        if met.any():
            distances_mm[waiting[met]] = length_mm
            left = np.flatnonzero(~met)
            waiting, here = waiting.take(left), here.take(left)
        if waiting.size == 0:
            break
    return distances_mm, waiting


def _places(flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Voxels (N, axes) of indices into a flattened array."""
    return np.stack(np.unravel_index(flat, shape), axis=1)


@lru_cache(maxsize=64)
def _rings_outwards(spacing_mm: tuple[float, ...]) -> tuple[tuple[np.ndarray, float], ...]:
    """The steps of `_steps_outwards` of each length: voxels (N, axes), and the length in mm, shortest first."""
    steps, lengths_mm = _steps_outwards(spacing_mm)
    starts = [0, *(np.flatnonzero(np.diff(lengths_mm)) + 1), len(lengths_mm)]
    return tuple((steps[first:last], float(lengths_mm[first])) for first, last in pairwise(starts))


def _steps_outwards(spacing_mm: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """All steps no longer than REACH of the finest spacing, shortest first: voxels (N, axes) and lengths in mm (N,)."""
    radius_mm = REACH * min(spacing_mm)
    ranges = [np.arange(-int(radius_mm // spacing), int(radius_mm // spacing) + 1) for spacing in spacing_mm]
    steps = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, len(spacing_mm))
    lengths_mm = _lengths_mm(steps, spacing_mm)
    order = np.argsort(lengths_mm, kind="stable")
    order = order[lengths_mm[order] <= radius_mm]
    return steps[order], lengths_mm[order]


def _lengths_mm(steps: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    squared = np.zeros(len(steps))
    for axis, spacing in enumerate(spacing_mm):
        squared += (steps[:, axis] * spacing) ** 2
    return np.sqrt(squared)
