"""The 3D patches that an encoder reads as a whole: their tokens, their shape, and how they are trained on."""

from __future__ import annotations

import math

from samunet.planning.patch3d_memory import WINDOW, Patch3dNumbers, patch3d_bytes
from samunet.planning.sections import DatasetPlan, Patch3dPlan

FINE_TOKEN, COARSE_TOKEN = 2, 4  # voxels in-plane; the second is that of 3DSAM-adapter
FAR_SLICES = 2.0  # times as coarse as in-plane voxels: such a slice has tokens of its own
TOKENS_PER_GB = 256  # of the memory target: 2048 for 8 GB, about a second of an iteration for `mini` on 2 cores
BATCH = 1  # as published; on a processor more iterations teach more than larger batches

Axes = tuple[int, int, int]


def plan_patches_3d(dataset: DatasetPlan, size: str, classes: int, memory_target_gb: float) -> Patch3dPlan:
    """Tokens about as deep as wide in mm; a patch of whole attention windows, within the budget of tokens.

    Training that does not fit the target computes each block twice; if that does not do, the budget halves. The least,
    one window, is planned whether it fits or not.

    Arguments:
        size: of the encoder, as an `EncoderSpec` has it.
        classes: output channels of the dataset's labels.
    """
    budget = max(int(TOKENS_PER_GB * memory_target_gb), WINDOW**3)
    token, token_reason = token_for(dataset, budget)
    while True:
        shape = patch_for(dataset.median_shape, token, budget)
        numbers = Patch3dNumbers(size, shape, token, classes)
        ways = [(checkpointed, patch3d_bytes(numbers, BATCH, checkpointed=checkpointed))
                for checkpointed in (False, True)]
        fitting = [way for way in ways if way[1] <= memory_target_gb * 1e9]
        if fitting or budget <= WINDOW**3:
            break
        budget = max(budget // 2, WINDOW**3)
    checkpointed, total_bytes = (fitting or ways[-1:])[0]
    memory = (f"blocks computed {'twice' if checkpointed else 'once'}: {total_bytes / 1e9:.1f} GB, "
              f"{'within' if fitting else 'the least that there is, and more than'} the target of "
              f"{memory_target_gb:g} GB")
    return Patch3dPlan(shape, token, BATCH, checkpointed, total_bytes, {
        "shape": f"whole windows of {WINDOW} tokens, the longest axes of the median shape "
                 f"{'x'.join(map(str, dataset.median_shape))} first, up to {budget} tokens and at most that shape",
        "token": token_reason,
        "batch_size": f"{BATCH} for every dataset, as published",
        "checkpointed": memory,
        "training_bytes": "counted for one process in float32, see planning/patch3d_memory.py",
    })


def token_for(dataset: DatasetPlan, budget: int) -> tuple[Axes, str]:
    """Voxels (z, y, x) that a token covers, and why: fine ones where a patch of `budget` tokens holds the whole median
    case, since one that shows a part of it teaches less.

    Hippocampus, the first 40 cases, fold 1, 31 training cases and 6 validation cases, one scratch run each of 130 s of
    a processor: patches of the whole case with tokens of 4 voxels learned 73 iterations, and gave Dice 0.770 after one
    click for each class and 0.814 after five; of 16 x 32 x 32 voxels with tokens of 2, 57 iterations, 0.327 and 0.641.
    """
    fine, coarse = _cube(dataset, FINE_TOKEN), _cube(dataset, COARSE_TOKEN)
    median = "x".join(map(str, dataset.median_shape))
    count = math.prod(math.ceil(side / part) for side, part in zip(dataset.median_shape, fine, strict=True))
    token = fine if count <= budget else coarse
    in_plane = (f"{token[1]} voxels in-plane: of {FINE_TOKEN} the median shape {median} has {count} tokens, "
                f"{'at most' if token is fine else 'over'} {budget}")
    if dataset.median_shape[0] == 1:
        return token, f"{in_plane}; 1 slice: 2D images"
    ratio = f"slices are {_ratio(dataset):.3g} times as coarse"
    if _ratio(dataset) > FAR_SLICES:
        return token, f"{in_plane}; 1 slice: {ratio}, over {FAR_SLICES:g}"
    return token, f"{in_plane}; about as deep in mm: {ratio}"


def _cube(dataset: DatasetPlan, side: int) -> Axes:
    """A token of `side` voxels in-plane, about as deep in mm."""
    far = dataset.median_shape[0] == 1 or _ratio(dataset) > FAR_SLICES
    return 1 if far else max(1, round(side / _ratio(dataset))), side, side


def _ratio(dataset: DatasetPlan) -> float:
    return dataset.spacing_mm[0] / max(dataset.spacing_mm[1:])


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
