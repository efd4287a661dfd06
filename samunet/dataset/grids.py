"""Compare voxel grids in space: are they the same, or the same after permuting and flipping axes?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from samunet.dataset.case_paths import SEQUENCE_READERS
from samunet.dataset.geometry import Geometry

# Grids agree if no corner is further off than this, along any axis of the first grid.
TOLERANCE_VOXELS = 0.01
# Directions count as equal if, with centres aligned, no corner is off by this much: nearest neighbours move no voxel.
SHIFT_TOLERANCE_VOXELS = 0.5
# Files store float32, so coordinates far from the origin are only known to a few units in their last place.
ROUNDING = 4 * 2.0**-24


@dataclass(frozen=True)
class Turn:
    """A permutation and flips of the three spatial axes, which move voxels without interpolation.

    Axis i of the result is axis `axes[i]` of the source, reversed where `flipped[i]`.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """View of `array` (..., Z, Y, X) on the turned grid."""
        lead = array.ndim - 3
        turned = array.transpose(*range(lead), *(lead + axis for axis in self.axes))
        return np.flip(turned, tuple(lead + axis for axis in range(3) if self.flipped[axis]))

    @property
    def inverse(self) -> Turn:
        """The turn that takes the result back."""
        axes = tuple(int(axis) for axis in np.argsort(self.axes))
        return Turn(axes, tuple(self.flipped[axis] for axis in axes))  # type: ignore[arg-type]


def affine_mm(geometry: Geometry) -> np.ndarray:
    """Float64 (4, 4) from voxel indices (z, y, x, 1) to (x, y, z, 1) in mm (left, posterior, superior as in ITK).

    Files without origin and direction (PNG, TIFF) are placed at the origin, 2D files in the plane z = 0.
    """
    space = len(geometry.origin)
    direction, origin = np.eye(3), np.zeros(3)
    origin[:space] = geometry.origin
    if space:
        direction[:space, :space] = np.reshape(geometry.direction, (space, space))
    matrix = np.eye(4)
    matrix[:3, :3] = (direction * geometry.spacing_mm[::-1])[:, ::-1]
    matrix[:3, 3] = origin
    return matrix


def voxel_volume_ml(geometry: Geometry) -> float:
    """Volume of a voxel in ml, sheared axes included; NaN for 2D files and sequences, whose slices are no millimetres.
    """
    if geometry.is_2d or geometry.reader in SEQUENCE_READERS:
        return math.nan
    return abs(float(np.linalg.det(affine_mm(geometry)[:3, :3]))) / 1000


def corner_distance_voxels(first: Geometry, second: Geometry) -> float:
    """Largest distance between equal corners, in voxels along the axes of `first`; infinity for other shapes.

    Corners are the outer ones of the corner voxels, so that spacing counts along axes of one voxel too. Distances that
    float32 storage of the coordinates explains count as 0.
    """
    if first.shape != second.shape:
        return float("inf")
    return _distance(affine_mm(first), affine_mm(second), first.shape)


def corner_distance_mm(first: Geometry, second: Geometry) -> float:
    """Largest distance between equal corners of two grids of one shape, in mm."""
    corners = _corners(first.shape)
    apart = (affine_mm(second) - affine_mm(first))[:3] @ corners
    return float(np.linalg.norm(apart, axis=0).max())


def same_grid(first: Geometry, second: Geometry) -> bool:
    """Whether two grids agree to a hundredth of a voxel at every corner."""
    return first == second or corner_distance_voxels(first, second) <= TOLERANCE_VOXELS


def turn_between(source: Geometry, target: Geometry) -> Turn | None:
    """The turn from the grid `source` to the grid `target`; None if interpolation would be needed."""
    to_source = np.linalg.solve(affine_mm(source), affine_mm(target))[:3, :3]
    axes = np.abs(to_source).argmax(axis=0)
    if sorted(axes.tolist()) != [0, 1, 2] or tuple(source.shape[axis] for axis in axes) != target.shape:
        return None
    turn = Turn(tuple(axes.tolist()), tuple((to_source[axes, range(3)] < 0).tolist()))
    turned = turned_affine(affine_mm(source), source.shape, turn)
    return turn if _distance(affine_mm(target), turned, target.shape) <= TOLERANCE_VOXELS else None


def same_spacing(first: Geometry, second: Geometry) -> bool:
    """Whether the spacings of two grids put their ends within a hundredth of a voxel, with centres aligned."""
    one, other = np.array(first.spacing_mm), np.array(second.spacing_mm)
    reach = np.maximum(first.shape, second.shape) / 2
    return bool((np.abs(one - other) * reach <= TOLERANCE_VOXELS * np.minimum(one, other)).all())


def only_shifted(first: Geometry, second: Geometry) -> bool:
    """Whether two grids of one shape and spacing agree once their centres are aligned: none is rotated or flipped."""
    one, other = (_centred(affine_mm(geometry), geometry.shape) for geometry in (first, second))
    return same_spacing(first, second) and _distance(one, other, first.shape) < SHIFT_TOLERANCE_VOXELS


def turned_affine(affine: np.ndarray, shape: tuple[int, ...], turn: Turn) -> np.ndarray:
    """The affine, as of `affine_mm`, of an array of `shape` after `turn`."""
    turned = np.eye(4)
    turned[:3, 3] = affine[:3, 3]
    for new, (old, flip) in enumerate(zip(turn.axes, turn.flipped, strict=True)):
        turned[:3, new] = affine[:3, old] * (-1 if flip else 1)
        if flip:
            turned[:3, 3] += affine[:3, old] * (shape[old] - 1)
    return turned


def _distance(first: np.ndarray, second: np.ndarray, shape: tuple[int, ...]) -> float:
    corners = _corners(shape)
    one, other = (matrix[:3] @ corners for matrix in (first, second))
    apart = np.linalg.solve(first[:3, :3], other - one)
    sides = np.linalg.norm(first[:3, :3], axis=0)
    rounding = ROUNDING * max(np.abs(one).max(), np.abs(other).max()) / sides
    return float(np.maximum(np.abs(apart) - rounding[:, None], 0).max())


def _corners(shape: tuple[int, ...]) -> np.ndarray:
    """Voxel indices (z, y, x, 1) of the outer corners of the corner voxels, float64 (4, 8)."""
    outer = [(-0.5, size - 0.5) for size in shape]
    return np.stack([*(axis.ravel() for axis in np.meshgrid(*outer)), np.ones(8)])


def _centred(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """`affine` shifted so that the middle of a grid of `shape` is at 0."""
    centred = affine.copy()
    centred[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return centred
