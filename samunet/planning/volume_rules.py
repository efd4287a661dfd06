"""The volumes that a 3D network reads, and its poolings, from the grid and the encoder's tile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from samunet.planning.encoder_spec import NAMED_ENCODERS
from samunet.planning.sections import HYBRID_STAGES, DatasetPlan, EmbeddingsPlan, EncoderPlan, HybridPlan
from samunet.planning.unet_rules import topology

JOINING_STAGE = 2  # whose cells, four voxels wide where all axes are halved, are what embeddings are brought to
VOLUME_VOXELS = 2**16
FIRST_STAGES = 4  # at most, before plans had sections
SHIPPED_ENCODERS = {spec.id for spec in NAMED_ENCODERS.values() if spec.family == "mini"}


@dataclass(frozen=True)
class VolumePlan:
    """Axes (z, y, x). `shape` in voxels; `padded` is what the strides divide.

    `strides` and `kernels` have an entry for each stage of the network, the first stride all 1; `cell` is how many
    voxels a cell of the stage holds at which embeddings join, and `cells` how many there are.
    """

    shape: tuple[int, int, int]
    padded: tuple[int, int, int]
    strides: tuple[tuple[int, int, int], ...]
    kernels: tuple[tuple[int, int, int], ...]
    cell: tuple[int, int, int]
    cells: tuple[int, int, int]

    @property
    def depth(self) -> int:
        """Slices of a volume."""
        return self.shape[0]


def plan_hybrid(dataset: DatasetPlan, encoder: EmbeddingsPlan, stages: int = HYBRID_STAGES) -> HybridPlan:
    """As many slices of the tile as VOLUME_VOXELS hold, at most the median depth; poolings by nnU-Net's rule.

    Embeddings are read of encoders that a user chose, and not of those that samunet ships.
    """
    rows, columns = encoder.tile_shape
    fitting = VOLUME_VOXELS // (rows * columns)
    depth = most = max(1, min(dataset.median_shape[0], fitting))
    all_strides, all_kernels, _ = topology(dataset.spacing_mm, (depth, rows, columns))
    strides, kernels = (
        [_triple(each) for each in of_stages[:stages]] for of_stages in (all_strides, all_kernels)
    )
    step = _product(strides)[0]
    depth -= depth % step if depth > step else 0  # slices of padding would be computed for nothing
    unpadded = f"; of {most} as many as can be pooled without padding" if depth < most else ""
    spacing = " x ".join(f"{each:g}" for each in dataset.spacing_mm)
    rule = f"nnU-Net's rule on {most} x {rows} x {columns} voxels of {spacing} mm"
    pay = _pay(encoder)
    reasons = {
        "depth": f"{VOLUME_VOXELS} voxels hold {fitting} slices of the tile {rows}x{columns}, at most the median depth "
                 f"{dataset.median_shape[0]}{unpadded}",
        "strides": f"{rule}, at most {stages} stages",
        "kernels": f"{rule}: 1 along axes that are over twice as coarse as the finest",
        "embeddings": f"{encoder.encoder} was chosen with --encoder" if pay
        else f"embeddings of {encoder.encoder} gained nothing beside voxels where measured (studies/hybrid.md)",
    }
    return HybridPlan(depth, tuple(strides), tuple(kernels), reasons, pay)


def reads_embeddings(encoder: EncoderPlan) -> bool:
    """Whether `hybrid` reads embeddings unless a setting says otherwise: as the plan says, else by the rule."""
    return encoder.hybrid.embeddings if encoder.hybrid else _pay(encoder)


def _pay(encoder: EmbeddingsPlan) -> bool:
    return encoder.encoder not in SHIPPED_ENCODERS


def plan_volume(dataset: DatasetPlan, encoder: EncoderPlan) -> VolumePlan:
    """The volumes of the encoder's `hybrid` section, or by the rules of their time where there is none."""
    plan = encoder.hybrid or plan_hybrid(dataset, encoder, FIRST_STAGES)
    shape = (plan.depth, *encoder.tile_shape)
    steps = _product(plan.strides)
    padded = _triple([math.ceil(size / step) * step for size, step in zip(shape, steps, strict=True)])
    cell = _product(plan.strides[: JOINING_STAGE + 1])
    cells = _triple([size // step for size, step in zip(padded, cell, strict=True)])
    return VolumePlan(shape, padded, plan.strides, plan.kernels, cell, cells)


def _product(strides: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    return _triple([math.prod(stride[axis] for stride in strides) for axis in range(3)])


def _triple(values: list[int] | tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = values
    return z, y, x
