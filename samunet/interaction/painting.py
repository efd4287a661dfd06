"""Strokes of a round brush: which voxels they paint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from samunet.interaction.actions import Stroke

ROUNDING_MM = 1e-6  # a voxel exactly a radius away is painted on every side
Region = tuple[slice, ...]


def brushed(stroke: Stroke, shape: Sequence[int], spacing_mm: Sequence[float]) -> tuple[Region, np.ndarray]:
    """The voxels of one plane that a stroke paints.

    A voxel is painted if its middle is at most `radius_mm` from the path, the straight lines between neighbouring
    places, measured in the plane; and each place's own voxel is, whatever the radius.

    Arguments:
        stroke: all places are in one plane across its axis, inside the array.
        shape, spacing_mm: of the array, (z, y, x).

    Returns:
        A region of the array, one voxel thick along the axis, and bool of its shape.
    """
    in_plane = [axis for axis in range(3) if axis != stroke.axis]
    places = np.array(stroke.places)[:, in_plane]
    spacing = np.array(spacing_mm, float)[in_plane]
    reach = (stroke.radius_mm + ROUNDING_MM) / spacing
    size = np.array(shape)[in_plane]
    low, high = _window(places, reach, size)
    painted = np.zeros(high - low, bool)
    for first, last in zip(places, places[1:] if len(places) > 1 else places, strict=False):
        near, far = _window(np.stack([first, last]), reach, size)
        part = tuple(slice(a, b) for a, b in zip(near - low, far - low, strict=True))
        rows, columns = np.ogrid[near[0] : far[0], near[1] : far[1]]
        distance = _distance_mm(rows * spacing[0], columns * spacing[1], first * spacing, last * spacing)
        painted[part] |= distance <= stroke.radius_mm + ROUNDING_MM
    own = voxels_of(places) - low
    painted[own[:, 0], own[:, 1]] = True
    plane = int(voxels_of(np.array(stroke.places[0]))[stroke.axis])
    region = [slice(plane, plane + 1)] * 3
    for axis, start, stop in zip(in_plane, low, high, strict=True):
        region[axis] = slice(int(start), int(stop))
    return (region[0], region[1], region[2]), np.expand_dims(painted, stroke.axis)


def voxels_of(places: np.ndarray) -> np.ndarray:
    """The indices int64 of the voxels that hold places (..., n): whole numbers are the middles of voxels."""
    return np.floor(np.asarray(places, float) + 0.5).astype(np.int64)


def _window(places: np.ndarray, reach: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The half-open box of voxels that a brush which reaches so many voxels may paint, cut to the plane."""
    return np.maximum(voxels_of(places.min(0) - reach), 0), np.minimum(voxels_of(places.max(0) + reach) + 1, size)


def _distance_mm(rows: np.ndarray, columns: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Distance of each (row, column), in mm, from the straight line between two places."""
    along = last - first
    length = float(along @ along)
    share = 0.0 if length == 0 else np.clip(((rows - first[0]) * along[0] + (columns - first[1]) * along[1]) / length,
                                            0, 1)
    nearest = np.hypot(rows - first[0] - share * along[0], columns - first[1] - share * along[1])
    return np.asarray(nearest)
