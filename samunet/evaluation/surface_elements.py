"""Surface elements: size of the surface (3D, mm2) or contour (2D, mm) between 2x2(x2) neighbouring voxels.

The points of the surface grid are the corners where voxels meet. The pattern of the voxels around a point is its
neighbour code: one bit a voxel, the first voxel (lowest index along every axis) the highest bit.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from skimage.measure import marching_cubes


def neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """The code of every corner of a mask's voxels.

    Arguments:
        mask: boolean (Z, Y, X) or (Y, X); voxels outside the image count as background.

    Returns:
        uint8, one longer than `mask` along every axis: 0 (all outside) to 255, or to 15 in 2D (all inside).
    """
    codes = np.pad(mask.astype(np.uint8), 1)
    for steps, axis in enumerate(reversed(range(mask.ndim))):
        first, second = [slice(None)] * mask.ndim, [slice(None)] * mask.ndim
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        codes = (codes[tuple(first)] << 2**steps) | codes[tuple(second)]
    return codes


@lru_cache(maxsize=64)
def element_sizes(spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Size of the surface element of every neighbour code.

    Arguments:
        spacing_mm: (z, y, x) or (y, x).

    Returns:
        float64 (256,) areas in mm2 for three axes, (16,) contour lengths in mm for two. Read-only: it is cached.
    """
    sizes = _areas_mm2(spacing_mm) if len(spacing_mm) == 3 else _lengths_mm(spacing_mm)
    sizes.setflags(write=False)
    return sizes


def _areas_mm2(spacing_mm: tuple[float, ...]) -> np.ndarray:
    z, y, x = spacing_mm
    # A triangle's normal, as long as its area, scales along each axis with the spacings of the two other axes.
    scale = np.array([y * x, z * x, z * y])
    return np.array([np.linalg.norm(normals * scale, axis=1).sum() for normals in _triangle_normals()])


@lru_cache(maxsize=1)
def _triangle_normals() -> tuple[np.ndarray, ...]:
    """For each of the 256 codes, float64 (triangles, 3): normals as long as the triangle's area at unit spacing.

    The classic marching cubes surface (Lorensen and Cline 1987) around the minority of the eight voxels. So codes
    and their complements have equal areas, and voxels that touch only at an edge or a corner are separate.
    """
    return tuple(_normals_of_code(min(code, 255 - code, key=int.bit_count)) for code in range(256))


def _normals_of_code(code: int) -> np.ndarray:
    if code in (0, 255):
        return np.zeros((0, 3))
    inside = (code >> np.arange(7, -1, -1)) & 1
    corners, triangles, _, _ = marching_cubes(inside.reshape(2, 2, 2).astype(np.float32), 0.5, method="lorensen")
    first, second, third = corners.astype(np.float64)[triangles].swapaxes(0, 1)
    return np.cross(second - first, third - first) / 2


def _lengths_mm(spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Marching squares: a contour runs through the midpoints of the sides whose two pixels differ."""
    rows_mm, columns_mm = spacing_mm
    cut_corner_mm = 0.5 * np.hypot(rows_mm, columns_mm)
    lengths = np.zeros(16)
    for code in range(1, 15):
        square = ((code >> np.arange(3, -1, -1)) & 1).reshape(2, 2)
        if (square[0] == square[1]).all():
            lengths[code] = rows_mm
        elif (square[:, 0] == square[:, 1]).all():
            lengths[code] = columns_mm
        else:
            corners_cut = min(square.sum(), 4 - square.sum())
            lengths[code] = corners_cut * cut_corner_mm
    return lengths
