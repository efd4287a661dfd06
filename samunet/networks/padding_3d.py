"""Patches padded to the sides that a network's poolings divide."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

Axes = tuple[int, int, int]


def whole_steps(shape: Sequence[int], step: Sequence[int]) -> Axes:
    """The sides (z, y, x) of `shape`, each rounded up to a multiple of its `step`; at least two steps in all.

    Instance norm is not defined on a map of a single voxel.
    """
    z, y, x = (math.ceil(side / part) for side, part in zip(shape, step, strict=True))
    x = max(x, 2) if z * y == 1 else x
    return z * step[0], y * step[1], x * step[2]


def padded_to(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Images (B, C, z, y, x) with zeros behind the end of each axis, up to `shape` (z, y, x)."""
    missing = [side - had for side, had in zip(shape, images.shape[2:], strict=True)]
    return functional.pad(images, [part for each in reversed(missing) for part in (0, each)])


def cropped_to(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Images (B, C, ...) without what is behind `shape` (z, y, x)."""
    z, y, x = shape
    return images[:, :, :z, :y, :x]
