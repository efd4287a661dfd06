"""The stack of slices that a 3D network sees together, and its poolings, from the grid and the encoder's tile."""

from __future__ import annotations

import math
from dataclasses import dataclass

from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.planning.unet_rules import topology

STAGES = 4
JOINING_STAGE = 2  # whose cells, four voxels wide where all axes are halved, are what embeddings are brought to
VOLUME_VOXELS = 2**16


@dataclass(frozen=True)
class VolumePlan:
    """Axes (z, y, x). `shape` in voxels: the stack's slices and the encoder's tile; `padded` is what the strides divide.

    `strides` and `kernels` have an entry for each stage of the network, the first stride all 1; `cell` is how many voxels a
    cell of the stage holds at which embeddings join, and `cells` how many there are.
    """

    shape: tuple[int, int, int]
    padded: tuple[int, int, int]
    strides: tuple[tuple[int, int, int], ...]
    kernels: tuple[tuple[int, int, int], ...]
    cell: tuple[int, int, int]
    cells: tuple[int, int, int]

    @property
    def depth(self) -> int:
        """Slices of a stack."""
        return self.shape[0]


def plan_volume(dataset: DatasetPlan, encoder: EncoderPlan) -> VolumePlan:
    """As many slices as VOLUME_VOXELS hold of the encoder's tile, at most the median depth; poolings by nnU-Net's rule."""
    rows, columns = encoder.tile_shape
    depth = max(1, min(dataset.median_shape[0], VOLUME_VOXELS // (rows * columns)))
    all_strides, all_kernels, _ = topology(dataset.spacing_mm, (depth, rows, columns))
    strides, kernels = ([_triple(each) for each in of_stages[:STAGES]] for of_stages in (all_strides, all_kernels))
    divisor = _product(strides)
    depth -= depth % divisor[0] if depth > divisor[0] else 0  # slices of padding would be computed for nothing
    shape = (depth, rows, columns)
    padded = _triple([math.ceil(size / step) * step for size, step in zip(shape, divisor, strict=True)])
    cell = _product(strides[: JOINING_STAGE + 1])
    cells = _triple([size // step for size, step in zip(padded, cell, strict=True)])
    return VolumePlan(shape, padded, tuple(strides), tuple(kernels), cell, cells)


def _product(strides: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    return _triple([math.prod(stride[axis] for stride in strides) for axis in range(3)])


def _triple(values: list[int] | tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = values
    return z, y, x
