"""Cells of several voxels as channels of one place, and back, so that a network computes on a coarser grid."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def space_to_depth(volume: Tensor, cell: Sequence[int]) -> Tensor:
    """(B, C, z, y, x) -> (B, C * n, z / cz, y / cy, x / cx), n = cz * cy * cx voxels of a cell; nothing is lost.

    Channel c * n + i is voxel i, in the order of (z, y, x), of channel c.

    Arguments:
        volume: sides are multiples of the cell's. cell: (cz, cy, cx).
    """
    (depth, rows, columns), (batch, channels, *sides) = cell, volume.shape
    z, y, x = (side // step for side, step in zip(sides, cell, strict=True))
    split = volume.reshape(batch, channels, z, depth, y, rows, x, columns)
    return split.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(batch, channels * depth * rows * columns, z, y, x)


def depth_to_space(cells: Tensor, cell: Sequence[int]) -> Tensor:
    """The inverse of `space_to_depth`: the sub-pixel convolution's shuffle (Shi et al., arXiv 1609.05158, eq. 4)."""
    (depth, rows, columns), (batch, channels, z, y, x) = cell, cells.shape
    split = cells.reshape(batch, channels // (depth * rows * columns), depth, rows, columns, z, y, x)
    return split.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(batch, -1, z * depth, y * rows, x * columns)
