"""nnU-Net's rules for a plain U-Net: patch, poolings, kernels, widths and batch, from the grid and a memory target.

Source of the rules: nnunetv2/experiment_planning/experiment_planners (2.8.1), default_experiment_planner.py and
network_topology.py; Isensee et al., Nature Methods 18 (2021), supplementary note 2. `2d` takes the two in-plane axes of
the grid, `3d_fullres` all three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from samunet.planning.sections import DatasetPlan, UnetPlan

SHORTEST_MAP = 4  # voxels along an axis of the deepest feature map, at least
FIRST_WIDTH = 32
WIDEST = {2: 512, 3: 320}
INITIAL_VOXELS = {2: 2048**2, 3: 256**3}
CONVOLUTIONS = 2  # a stage
# Values in all feature maps that 8 GB hold for the reference batch.
REFERENCE_VALUES = {2: 85_000_000, 3: 560_000_000}
REFERENCE_BATCH = {2: 12, 3: 2}
REFERENCE_GB = 8.0
SMALLEST_BATCH = 2


def plan_unet(plan: DatasetPlan, classes: int, dimensions: int, memory_target_gb: float = REFERENCE_GB) -> UnetPlan:
    """The U-Net for a dataset's grid.

    Deviation from nnU-Net: the batch is at most its reference batch (12 in 2D, 2 in 3D), where nnU-Net fills the memory
    (366 in 2D on hippocampus): budgets here are minutes, in which many small steps learn more than a few large ones.

    Arguments:
        plan: grid and channels.
        classes: output channels.
        dimensions: 2 or 3.
        memory_target_gb: what nnU-Net calls gpu_memory_target.
    """
    spacing, median = plan.spacing_mm[-dimensions:], plan.median_shape[-dimensions:]
    widest = WIDEST[dimensions]
    strides, kernels, patch = topology(spacing, _initial_patch(spacing, median))
    budget = REFERENCE_VALUES[dimensions] * memory_target_gb / REFERENCE_GB
    while (values := _values(patch, strides, widest, classes)) / REFERENCE_BATCH[dimensions] * SMALLEST_BATCH > budget:
        axis = max(range(dimensions), key=lambda each: (patch[each] / median[each], each))
        # By as much as the smaller patch's poolings ask for: the present ones' would leave out valid sizes.
        smaller = _less(patch, axis, _divisor(strides, axis))
        patch = _less(patch, axis, _divisor(topology(spacing, smaller)[0], axis))
        strides, kernels, patch = topology(spacing, patch)
    batch = round(budget / values * REFERENCE_BATCH[dimensions])
    size = max(min(batch, REFERENCE_BATCH[dimensions]), SMALLEST_BATCH)
    reasons = _reasons(patch, median, batch, dimensions, memory_target_gb)
    return UnetPlan(patch, strides, kernels, _widths(len(strides), widest), size, classes, reasons)


def _reasons(
    patch: Sequence[int], median: Sequence[int], batch: int, dimensions: int, memory_target_gb: float
) -> dict[str, str]:
    shape = "x".join(map(str, median))
    return {
        "patch": f"nnU-Net's rule: what {memory_target_gb:g} GB hold of the median {shape}, in whole steps of the "
                 "strides",
        "strides": f"nnU-Net's rule: halved while {SHORTEST_MAP} voxels are left, unless twice as coarse as the finest",
        "kernels": "nnU-Net's rule: 3, and 1 along axes that are over twice as coarse as the finest",
        "widths": f"{FIRST_WIDTH}, doubled in each stage, at most {WIDEST[dimensions]}",
        "batch_size": f"{batch} patches of {'x'.join(map(str, patch))} fit {memory_target_gb:g} GB; from "
                      f"{SMALLEST_BATCH} to "
        f"{REFERENCE_BATCH[dimensions]}",
        "classes": "output channels of dataset.json's labels",
    }


def topology(
    spacing: Sequence[float], patch: Sequence[int]
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...], tuple[int, ...]]:
    """(strides, kernels, patch padded to what the strides divide) of each stage.

    An axis is halved while it keeps SHORTEST_MAP voxels and is less than twice as coarse as the finest that can be
    halved; a last axis alone only if it is three times as long. An axis' kernel is 1 until it is less than twice as
    coarse as the finest, then 3; the deepest stage has 3 everywhere.
    """
    axes = range(len(patch))
    voxels, size, kernel = list(spacing), list(patch), [1] * len(patch)
    strides, kernels = [tuple(1 for _ in axes)], []
    while halved := _halved(voxels, size):
        kernel = [3 if voxels[axis] / min(voxels) < 2 else kernel[axis] for axis in axes]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if axis in halved else 1 for axis in axes))
        voxels = [voxels[axis] * strides[-1][axis] for axis in axes]
        size = [math.ceil(size[axis] / strides[-1][axis]) for axis in axes]
    kernels.append(tuple(3 for _ in axes))
    divisors = [_divisor(strides, axis) for axis in axes]
    padded = tuple(math.ceil(side / divisor) * divisor for side, divisor in zip(patch, divisors, strict=True))
    return tuple(strides), tuple(kernels), padded


def _halved(voxels: Sequence[float], size: Sequence[int]) -> list[int]:
    long = [axis for axis in range(len(size)) if size[axis] >= 2 * SHORTEST_MAP]
    if not long:
        return []
    finest = min(voxels[axis] for axis in long)
    halved = [axis for axis in long if voxels[axis] / finest < 2]
    return [] if len(halved) == 1 and size[halved[0]] < 3 * SHORTEST_MAP else halved


def _initial_patch(spacing: Sequence[float], median: Sequence[int]) -> list[int]:
    inverse = [1 / each for each in spacing]
    factor = (INITIAL_VOXELS[len(spacing)] / math.prod(inverse)) ** (1 / len(spacing))
    return [min(round(each * factor), size) for each, size in zip(inverse, median, strict=True)]


def _divisor(strides: Sequence[Sequence[int]], axis: int) -> int:
    return math.prod(stride[axis] for stride in strides)


def _less(patch: Sequence[int], axis: int, by: int) -> tuple[int, ...]:
    return tuple(side - by * (index == axis) for index, side in enumerate(patch))


def _widths(stages: int, widest: int) -> tuple[int, ...]:
    return tuple(min(FIRST_WIDTH * 2**stage, widest) for stage in range(stages))


def _values(patch: Sequence[int], strides: Sequence[Sequence[int]], widest: int, classes: int) -> int:
    """Values in the feature maps of one patch: each convolution's, each transposed convolution's, and the logits'."""
    size, widths = list(patch), _widths(len(strides), widest)
    maps = []
    for stride, width in zip(strides, widths, strict=True):
        size = [side // step for side, step in zip(size, stride, strict=True)]
        maps.append(math.prod(size) * width)
    encoder = CONVOLUTIONS * sum(maps)
    decoder = (CONVOLUTIONS + 1) * sum(maps[:-1])
    return encoder + decoder + math.prod(patch) * classes
