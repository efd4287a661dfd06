"""Exact distances from many points of a grid to the nearest of many others, fast if most are close."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

REACH = 4  # how far the first search looks, in voxels of the finest axis
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
    places = np.argwhere(points)
    distances_mm, far = _search_near(places, targets, spacing_mm)
    if far.size == 0:
        return distances_mm
    if far.size * VOXELS_PER_POINT < targets.size:
        target_places = np.argwhere(targets)
        tree = KDTree(target_places * np.array(spacing_mm), balanced_tree=False, compact_nodes=False)
        _, nearest = tree.query(places[far] * np.array(spacing_mm))
        steps = target_places[nearest] - places[far]
    else:
        # Computing only indices saves the distances of all voxels that are no points.
        nearest = ndimage.distance_transform_edt(
            ~targets, sampling=spacing_mm, return_distances=False, return_indices=True
        )
        steps = nearest[(slice(None), *places[far].T)].T - places[far]
    distances_mm[far] = _lengths_mm(steps, spacing_mm)
    return distances_mm


def _search_near(
    places: np.ndarray, targets: np.ndarray, spacing_mm: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Search outwards from all points at once. Returns distances, and the indices of points that found no target."""
    steps, step_lengths_mm = _steps_outwards(spacing_mm)
    margin = np.abs(steps).max(axis=0)
    padded = np.pad(targets, [(width, width) for width in margin])
    strides = np.array(padded.strides)  # of a boolean array: its bytes are its elements
    is_target = padded.ravel()

    distances_mm = np.zeros(len(places))
    waiting = np.arange(len(places))
    here = (places + margin) @ strides
    for step, length_mm in zip((steps @ strides).tolist(), step_lengths_mm.tolist(), strict=True):
        met = is_target[here + step]
        if met.any():
            distances_mm[waiting[met]] = length_mm
            waiting, here = waiting[~met], here[~met]
        if waiting.size == 0:
            break
    return distances_mm, waiting


@lru_cache(maxsize=64)
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
