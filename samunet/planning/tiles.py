"""Where windows lie on an image: one grid for planning, the cache and the sliding window."""

from __future__ import annotations

import math


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
    count = math.ceil((size - window) / (window * step)) + 1
    distance = (size - window) / (count - 1)
    return [round(distance * index) for index in range(count)]


def tile_grid(shape: tuple[int, int], tile: tuple[int, int], step: float) -> list[tuple[int, int]]:
    """(row, column) starts of all tiles of an in-plane `shape`, row-major. Tiles may reach past a short axis' end."""
    rows, columns = (window_starts(shape[axis], tile[axis], step) for axis in (0, 1))
    return [(row, column) for row in rows for column in columns]
