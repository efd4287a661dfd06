"""Where windows lie on an image: one grid for planning, the cache and the sliding window."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def window_starts(size: int, window: int, step: float) -> list[int]:
    """First indices of evenly spread windows along one axis (nnU-Net's rule).

    The distance between neighbours is at most `window * step`; the first window starts at 0 and the last ends at
    `size`. An axis no longer than the window has one window that starts at 0 (the caller pads).

    Arguments:
        size: axis length in voxels.
        window: window length in voxels.
        step: fraction of the window, 0 < step <= 1.
    """
    if size <= window:
        return [0]
    # At least a voxel apart: half of a window of one slice would visit each slice twice.
    count = min(math.ceil((size - window) / (window * step)), size - window) + 1
    distance = (size - window) / (count - 1)
    return [round(distance * index) for index in range(count)]


def tile_grid(shape: tuple[int, int], tile: tuple[int, int], step: float) -> list[tuple[int, int]]:
    """(row, column) starts of all tiles of an in-plane `shape`, row-major. Tiles may reach past a short axis' end."""
    rows, columns = (window_starts(shape[axis], tile[axis], step) for axis in (0, 1))
    return [(row, column) for row in rows for column in columns]


@dataclass(frozen=True)
class TileFrame:
    """The tiles of one case: an in-plane `shape` padded, centred, to at least one tile, and the tile starts on it.

    Everything that cuts or joins tiles (embeddings, labels in training, the sliding window) goes through one frame, so
    that they cannot disagree.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    step: float

    @property
    def padded_shape(self) -> tuple[int, int]:
        """Rows and columns of the image, padded to one tile where it is smaller."""
        return max(self.shape[0], self.tile[0]), max(self.shape[1], self.tile[1])

    @property
    def before(self) -> tuple[int, int]:
        """Rows and columns of padding before the image."""
        return (self.padded_shape[0] - self.shape[0]) // 2, (self.padded_shape[1] - self.shape[1]) // 2

    @property
    def starts(self) -> list[tuple[int, int]]:
        """(row, column) of each tile in the padded frame, row-major; a tile's index is its place in this list."""
        return tile_grid(self.padded_shape, self.tile, self.step)

    def cut(self, array: np.ndarray, index: int, fill: float) -> np.ndarray:
        """Tile `index` of `array` (..., Y, X) as (..., rows, columns), padded with `fill` outside the image."""
        padding = [(0, 0)] * (array.ndim - 2)
        window: list[slice] = []
        for axis in (0, 1):
            start = self.starts[index][axis] - self.before[axis]
            stop = start + self.tile[axis]
            low, high = max(start, 0), min(stop, self.shape[axis])
            window.append(slice(low, high))
            padding.append((low - start, stop - high))
        return np.pad(array[..., window[0], window[1]], padding, constant_values=fill)
