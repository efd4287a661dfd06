"""The 3D patches that an encoder reads as a whole: their tokens, their shape, and how they are trained on."""

from __future__ import annotations

import math

from samunet.planning.patch3d_memory import WINDOW, Patch3dNumbers, patch3d_bytes
from samunet.planning.sections import DatasetPlan, Patch3dPlan

FINE_TOKEN, COARSE_TOKEN = 2, 4  # voxels in-plane; the second is that of 3DSAM-adapter
SMALL_PLANE = 64  # voxels: longest side of a plane that has fine tokens, 32 of them, as many as 3DSAM-adapter's patch
FAR_SLICES = 2.0  # times as coarse as in-plane voxels: such a slice has tokens of its own
TOKENS_PER_GB = 256  # of the memory target: 2048 for 8 GB, about a second of an iteration for `mini` on 2 cores
BATCH = 2

Axes = tuple[int, int, int]


def plan_patches_3d(dataset: DatasetPlan, size: str, classes: int, memory_target_gb: float) -> Patch3dPlan:
    """Tokens about as deep as wide in mm; a patch of whole attention windows, within the budget of tokens.

    The budget halves until training fits the target: with both patches of a batch at once, then with each block
    computed twice, then with one patch a batch. The least, one window, is planned whether it fits or not.

    Arguments:
        size: of the encoder, as an `EncoderSpec` has it.
        classes: output channels of the dataset's labels.
    """
    token, token_reason = token_for(dataset)
    budget = max(int(TOKENS_PER_GB * memory_target_gb), WINDOW**3)
    while True:
        shape = patch_for(dataset.median_shape, token, budget)
        numbers = Patch3dNumbers(size, shape, token, classes)
        ways = [(batch, checkpointed, patch3d_bytes(numbers, batch, checkpointed=checkpointed))
                for batch in range(BATCH, 0, -1) for checkpointed in (False, True)]
        fitting = [way for way in ways if way[2] <= memory_target_gb * 1e9]
        if fitting or budget <= WINDOW**3:
            break
        budget = max(budget // 2, WINDOW**3)
    batch, checkpointed, total_bytes = (fitting or ways[-1:])[0]
    memory = (f"{batch} patches, blocks computed {'twice' if checkpointed else 'once'}: {total_bytes / 1e9:.1f} GB, "
              f"{'within' if fitting else 'the least that there is, and more than'} the target of "
              f"{memory_target_gb:g} GB")
    return Patch3dPlan(shape, token, batch, checkpointed, total_bytes, {
        "shape": f"whole windows of {WINDOW} tokens, the longest axes of the median shape "
                 f"{'x'.join(map(str, dataset.median_shape))} first, up to {budget} tokens and at most that shape",
        "token": token_reason,
        "batch_size": memory,
        "checkpointed": memory,
        "training_bytes": "counted for one process in float32, see planning/patch3d_memory.py",
    })


def token_for(dataset: DatasetPlan) -> tuple[Axes, str]:
    """Voxels (z, y, x) that a token covers, and why."""
    depth, *plane = dataset.median_shape
    side = FINE_TOKEN if max(plane) <= SMALL_PLANE else COARSE_TOKEN
    ratio = dataset.spacing_mm[0] / max(dataset.spacing_mm[1:])
    in_plane = (f"{side} voxels in-plane: the longer side of the median plane has {max(plane)} voxels, "
                f"{'at most' if side == FINE_TOKEN else 'over'} {SMALL_PLANE}")
    if depth == 1 or ratio > FAR_SLICES:
        reason = "2D images" if depth == 1 else f"slices are {ratio:.3g} times as coarse, over {FAR_SLICES:g}"
        return (1, side, side), f"{in_plane}; 1 slice: {reason}"
    return (max(1, round(side / ratio)), side, side), (
        f"{in_plane}; about as deep in mm, slices being {ratio:.3g} times as coarse")


def patch_for(median_shape: Axes, token: Axes, budget: int) -> Axes:
    """Voxels (z, y, x) of a patch of at most `budget` tokens, at most the median shape in whole tokens.

    It starts with one attention window. Then the axis along which most tokens of the median shape are missing gets a
    window more, as long as any fits; of equals, the last.
    """
    most = [math.ceil(side / part) for side, part in zip(median_shape, token, strict=True)]
    tokens = [min(WINDOW, side) for side in most]
    while True:
        longer = {axis: min(tokens[axis] + WINDOW, most[axis]) for axis in range(3) if tokens[axis] < most[axis]}
        fitting = [axis for axis, side in longer.items() if math.prod(tokens) // tokens[axis] * side <= budget]
        if not fitting:
            z, y, x = (side * part for side, part in zip(tokens, token, strict=True))
            return z, y, x
        axis = max(fitting, key=lambda each: (most[each] / tokens[each], each))
        tokens[axis] = longer[axis]
