"""The grid on which cases are registered to each other: the plan's, coarser where volumes are large."""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST_VOXELS = 65_536
"""Of a case of median shape. On ACDC, 9 x 256 x 216 voxels, a pair takes a sixth of the time that it takes on the
plan's grid, and the labels that it carries fit better (`AtlasVariant`)."""

EARLIER_MOST_VOXELS = 2_000_000
"""Of models that do not say theirs."""


def coarsened(shape: Sequence[int], voxels: int = MOST_VOXELS) -> tuple[int, int, int]:
    """`shape` (z, y, x), its longest axes shortened alike until it has at most about `voxels` voxels."""
    longest = max(shape)
    while longest > 1 and math.prod(min(size, longest) for size in shape) > voxels:
        longest -= 1
    z, y, x = (min(size, longest) for size in shape)
    return z, y, x
