"""The volumes that a 3D network reads, and its poolings, from the grid and the encoder's tile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from samunet.planning.encoder_spec import NAMED_ENCODERS
from samunet.planning.sections import (
    HYBRID_STAGES,
    DatasetPlan,
    EmbeddingsPlan,
    EncoderPlan,
    HybridPlan,
    VoxelsPlan,
)
from samunet.planning.unet_rules import topology

JOINING_STAGE = 2  # whose cells, four voxels wide where all axes are halved, are what embeddings are brought to
VOLUME_VOXELS = 2**16
PLACES = 3 * 2**14  # of a volume without embeddings
FEWEST_SLICES = 3  # as a kernel is deep
BISECTIONS = 60  # of a cube's side
FIRST_STAGES = 4  # at most, before plans had sections
SHIPPED_ENCODERS = {spec.id for spec in NAMED_ENCODERS.values() if spec.family == "mini"}


@dataclass(frozen=True)
class VolumePlan:
    """Axes (z, y, x). `shape` in voxels; `padded` is what the strides divide.

    `strides` and `kernels` have an entry for each stage of the network, the first stride all 1; `cell` is how many
    voxels a cell of the stage holds at which embeddings join, and `cells` how many there are. `place` is how many
    voxels are the channels of one place of the first stage; where it is more than one, no embeddings join.
    """

    shape: tuple[int, int, int]
    padded: tuple[int, int, int]
    strides: tuple[tuple[int, int, int], ...]
    kernels: tuple[tuple[int, int, int], ...]
    cell: tuple[int, int, int]
    cells: tuple[int, int, int]
    place: tuple[int, int, int] = (1, 1, 1)

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
    strides, kernels = _stages(dataset.spacing_mm, (depth, rows, columns), stages)
    depth = _unpadded(depth, _product(strides)[0])
    unpadded = f"; of {most} as many as can be pooled without padding" if depth < most else ""
    spacing = " x ".join(f"{each:g}" for each in dataset.spacing_mm)
    rule = f"nnU-Net's rule on {most} x {rows} x {columns} voxels of {spacing} mm"
    pay = _pay(encoder)
    voxels, voxels_reason = plan_voxels(dataset)
    reasons = {
        "depth": f"{VOLUME_VOXELS} voxels hold {fitting} slices of the tile {rows}x{columns}, at most the median depth "
                 f"{dataset.median_shape[0]}{unpadded}",
        "strides": f"{rule}, at most {stages} stages",
        "kernels": f"{rule}: 1 along axes that are over twice as coarse as the finest",
        "embeddings": f"{encoder.encoder} was chosen with --encoder" if pay
        else f"embeddings of {encoder.encoder} gained nothing beside voxels where measured (studies/hybrid.md)",
        "voxels": voxels_reason,
    }
    return HybridPlan(depth, strides, kernels, reasons, pay, voxels)


def plan_voxels(dataset: DatasetPlan) -> tuple[VoxelsPlan | None, str]:
    """What `hybrid` reads without embeddings, and why; None where the volumes of the encoder's tile will do.

    Where the median case is larger than they are, the fine axes are halved before the first stage, so that a volume
    shows four or eight times as much at the same cost. From few cases the network learns better of a few slices of
    several than of all slices of one (studies/hybrid.md).
    """
    median, spacing = dataset.median_shape, dataset.spacing_mm
    if math.prod(median) <= VOLUME_VOXELS:
        return None, f"the median case has at most {VOLUME_VOXELS} voxels, so the tile's volumes show nearly all of it"
    place = _triple([2 if step < 2 * min(spacing) and size > 1 else 1
                     for step, size in zip(spacing, median, strict=True)])
    shape = _most(dataset, PLACES * math.prod(place))
    strides, kernels = _stages([side * step for side, step in zip(spacing, place, strict=True)],
                               [max(1, side // step) for side, step in zip(shape, place, strict=True)], HYBRID_STAGES)
    depth = _unpadded(shape[0], _product(strides)[0] * place[0])
    reasons = {
        "shape": f"at most {PLACES} places: of thick slices at least {FEWEST_SLICES} of as much of the plane as fits, "
                 "else a cube in mm, cut to the median shape; slices of padding left out",
        "place": "axes less than twice as coarse as the finest are halved before the first stage",
        "strides": f"nnU-Net's rule on the volume's places, at most {HYBRID_STAGES} stages",
        "kernels": "nnU-Net's rule on the volume's places: 1 along axes that are over twice as coarse as the finest",
    }
    plan = VoxelsPlan((depth, *shape[1:]), place, strides, kernels, reasons)
    return plan, f"the median case has over {VOLUME_VOXELS} voxels, so its fine axes are halved before the first stage"


def _most(dataset: DatasetPlan, voxels: int) -> tuple[int, int, int]:
    """Voxels (z, y, x) of a volume of at most `voxels`, see `plan_voxels`."""
    median, spacing = dataset.median_shape, dataset.spacing_mm
    if not dataset.anisotropic:
        return _triple(_cube(median, spacing, voxels))
    depth = min(median[0], max(FEWEST_SLICES, voxels // (median[1] * median[2])))
    return _triple([depth, *_cube(median[1:], spacing[1:], voxels // depth)])


def _cube(sizes: Sequence[int], spacing_mm: Sequence[float], voxels: int) -> list[int]:
    """Voxels along each axis of the largest cube in mm, cut to `sizes`, that has at most `voxels`; at least one."""
    def of_side(side_mm: float) -> list[int]:
        return [max(1, min(size, int(side_mm / step))) for size, step in zip(sizes, spacing_mm, strict=True)]

    low, high = 0.0, max(size * step for size, step in zip(sizes, spacing_mm, strict=True)) * (1 + 1e-9)
    if math.prod(of_side(high)) <= voxels:
        return of_side(high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if math.prod(of_side(middle)) <= voxels else (low, middle)
    return of_side(low)


def reads_embeddings(encoder: EncoderPlan) -> bool:
    """Whether `hybrid` reads embeddings unless a setting says otherwise: as the plan says, else by the rule."""
    return encoder.hybrid.embeddings if encoder.hybrid else _pay(encoder)


def _pay(encoder: EmbeddingsPlan) -> bool:
    return encoder.encoder not in SHIPPED_ENCODERS


def plan_volume(dataset: DatasetPlan, encoder: EncoderPlan) -> VolumePlan:
    """The volumes of the encoder's `hybrid` section, or by the rules of their time where there is none."""
    plan = encoder.hybrid or plan_hybrid(dataset, encoder, FIRST_STAGES)
    shape = (plan.depth, *encoder.tile_shape)
    padded = _padded(shape, _product(plan.strides))
    cell = _product(plan.strides[: JOINING_STAGE + 1])
    cells = _triple([size // step for size, step in zip(padded, cell, strict=True)])
    return VolumePlan(shape, padded, plan.strides, plan.kernels, cell, cells)


def plan_voxel_volume(dataset: DatasetPlan, encoder: EncoderPlan) -> VolumePlan:
    """The volumes that `hybrid` reads without embeddings: of `hybrid.voxels`, or `plan_volume`'s where there is none.
    """
    plan = encoder.hybrid.voxels if encoder.hybrid else None
    if plan is None:
        return plan_volume(dataset, encoder)
    steps = _triple([step * side for step, side in zip(_product(plan.strides), plan.place, strict=True)])
    padded = _padded(plan.shape, steps)
    return VolumePlan(plan.shape, padded, plan.strides, plan.kernels, padded, (1, 1, 1), plan.place)


def _stages(
    spacing_mm: Sequence[float], shape: Sequence[int], stages: int
) -> tuple[tuple[tuple[int, int, int], ...], tuple[tuple[int, int, int], ...]]:
    """(strides, kernels) of at most so many stages, by nnU-Net's rule."""
    strides, kernels, _ = topology(spacing_mm, shape)
    return tuple(map(_triple, strides[:stages])), tuple(map(_triple, kernels[:stages]))


def _unpadded(depth: int, step: int) -> int:
    """The most of `depth` slices that are pooled without padding, which would be computed for nothing."""
    return depth - depth % step if depth > step else depth


def _padded(shape: Sequence[int], steps: Sequence[int]) -> tuple[int, int, int]:
    return _triple([math.ceil(size / step) * step for size, step in zip(shape, steps, strict=True)])


def _product(strides: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    return _triple([math.prod(stride[axis] for stride in strides) for axis in range(3)])


def _triple(values: Sequence[int]) -> tuple[int, int, int]:
    z, y, x = values
    return z, y, x
