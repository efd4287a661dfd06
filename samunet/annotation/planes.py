"""The three planes of the page, and the exact way from a pixel of a plane to a voxel of the image's array.

An image is displayed on the display grid: its voxels, axes permuted and reversed so that they run nearest to superior
(axis 0), posterior (axis 1) and left (axis 2). Nothing is interpolated: an oblique image is displayed along its own
axes. Planes follow the radiological convention: right is on the left of axial and coronal planes, anterior is on the
left of the sagittal plane and at the top of the axial one, superior is at the top of the others. Images that do not
know where they are (PNG, TIFF) are displayed with their array's axes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import Turn, affine_mm

LEVELS = 2**16 - 1


@dataclass(frozen=True)
class Plane:
    """One plane: which axis of the display grid it crosses, and which run along its rows and columns.

    Arguments:
        axis: the axis that it is scrolled along. down, right: the axes that run down and to the right.
        upwards: whether `down` runs upwards instead, so that superior is at the top.
    """

    name: str
    axis: int
    down: int
    right: int
    upwards: bool


PLANES = (Plane("axial", 0, 1, 2, False), Plane("coronal", 1, 0, 2, True), Plane("sagittal", 2, 0, 1, True))


@dataclass(frozen=True)
class Display:
    """One image as it is displayed.

    Arguments:
        levels: uint16 (C, S, P, L) on the display grid; 0 to 65535 span each channel's `ranges`.
        ranges: lowest and highest intensity of each channel. windows: the range displayed at first.
        turn: from the image's array to the display grid.
    """

    levels: np.ndarray
    ranges: tuple[tuple[float, float], ...]
    windows: tuple[tuple[float, float], ...]
    turn: Turn
    spacing_mm: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along the axes of the display grid."""
        first, second, third = self.levels.shape[1:]
        return first, second, third

    def to_array(self, place: tuple[int, int, int]) -> tuple[int, int, int]:
        """Index (z, y, x) in the image's array of a voxel of the display grid."""
        return _moved(self._inverse, place, self.shape)

    def from_array(self, place: tuple[int, int, int]) -> tuple[int, int, int]:
        """Voxel of the display grid of an index (z, y, x) in the image's array."""
        first, second, third = (self.shape[axis] for axis in self._inverse.axes)
        return _moved(self.turn, place, (first, second, third))

    def array_axis(self, plane: int) -> int:
        """The axis of the image's array that plane number `plane` crosses."""
        return self.turn.axes[PLANES[plane].axis]

    def slice_of(self, volume: np.ndarray, plane: int, index: int) -> np.ndarray:
        """Slice `index` of a `volume` (S, P, L) on the display grid, its rows from top to bottom."""
        shown = PLANES[plane]
        rows: np.ndarray = np.take(volume, index, axis=shown.axis)
        return rows[::-1] if shown.upwards else rows

    def to_json(self) -> dict[str, Any]:
        """What the page must know."""
        flat = self.shape[0] == 1  # 2D files have one plane
        return {"shape": self.shape, "spacing_mm": self.spacing_mm, "ranges": self.ranges, "windows": self.windows,
                "planes": [asdict(plane) for plane in PLANES[: 1 if flat else None]]}

    @cached_property
    def _inverse(self) -> Turn:
        return self.turn.inverse


def display_of(image: np.ndarray, geometry: Geometry) -> Display:
    """Bring `image` float32 (C, Z, Y, X), finite, to the display grid.

    The first window spans the 0.5th to the 99.5th percentile of a channel, as samunet clips CT.
    """
    turn = _upright(geometry)
    levels = np.empty((len(image), *turn.apply(image[0]).shape), np.uint16)
    ranges, windows = [], []
    for channel, volume in enumerate(image):
        low, high = float(volume.min()), float(volume.max())
        scaled = (volume - low) * (LEVELS / (high - low) if high > low else 0.0)
        levels[channel] = turn.apply(np.rint(scaled).astype(np.uint16))
        ranges.append((low, high))
        ends = [float(end) for end in np.percentile(volume, (0.5, 99.5))]
        windows.append((ends[0], ends[1]) if ends[1] > ends[0] else (low, max(high, low + 1.0)))
    first, second, third = (geometry.spacing_mm[axis] for axis in turn.axes)
    return Display(levels, tuple(ranges), tuple(windows), turn, (first, second, third))


def _upright(geometry: Geometry) -> Turn:
    """The turn of an image to axes nearest to superior, posterior and left."""
    columns = affine_mm(geometry)[:3, :3] / geometry.spacing_mm  # direction (x, y, z) of each array axis
    # Largest first, so that every axis is used once also where an oblique axis is nearest to two directions.
    axes: dict[int, int] = {}
    for flat in np.argsort(-np.abs(columns), axis=None):
        world, axis = divmod(int(flat), 3)
        if world not in axes and axis not in axes.values():
            axes[world] = axis
    order = axes[2], axes[1], axes[0]
    flips = tuple(bool(columns[world, axis] < 0) for world, axis in zip((2, 1, 0), order, strict=True))
    return Turn(order, (flips[0], flips[1], flips[2]))


def _moved(turn: Turn, place: tuple[int, int, int], shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """The index after `turn` of voxel `place` of an array of `shape`."""
    moved = [place[axis] for axis in turn.axes]
    first, second, third = (shape[axis] - 1 - index if flipped else index
                            for index, axis, flipped in zip(moved, turn.axes, turn.flipped, strict=True))
    return first, second, third
