"""Masks as an earlier answer may have been: with parts missing, parts too much, moved, or known in one end alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from samunet.inputs.patches_3d import cut_3d

BALL_TOKENS = (0.5, 2.5)  # radius of what is removed or added
MOST_SHIFT = 0.75  # tokens
KNOWN_SHARE = (0.2, 0.6)  # of a patch, in which the mask of the window before is known
MOST_OUTSIDE = 0.7  # of a patch, by which a click may lie beyond its face


def corrupted(target: np.ndarray, token: Sequence[int], random: np.random.Generator) -> np.ndarray:
    """`target` bool (z, y, x), moved by up to a token, without a ball around one of its voxels, or with one or two
    balls too much, each for half of the masks, and at least one of them.

    Arguments:
        token: voxels (z, y, x), the measure of shifts and balls.
    """
    changes = random.random(3) < 0.5
    changes[:2] &= target.any()
    if not changes.any():
        changes[2] = True
    mask = target
    if changes[0]:
        shift = np.rint(random.uniform(-MOST_SHIFT, MOST_SHIFT, 3) * token).astype(int)
        mask = cut_3d(mask, shift.tolist(), mask.shape, 0)
    if changes[1] and mask.any():
        voxels = np.argwhere(mask)
        mask = mask & ~_random_ball(mask.shape, voxels[random.integers(len(voxels))], token, random)
    if changes[2]:
        for _ in range(int(random.integers(1, 3))):
            mask = mask | _random_ball(mask.shape, random.integers(mask.shape), token, random)
    return np.asarray(mask)


def split_at_face(
    target: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """What is known of `target` bool (z, y, x) where a window before this one ends in it, and where that was clicked.

    The window lies along an axis that is longer than one voxel.

    Returns:
        the part of it near one of the six faces, and what moves a place in it to beyond that face.
    """
    axis, upper = int(random.choice(np.flatnonzero(np.array(target.shape) > 1))), bool(random.integers(2))
    side = target.shape[axis]
    count = max(1, round(side * random.uniform(*KNOWN_SHARE)))
    known = np.zeros_like(target)
    slab = [slice(None)] * 3
    slab[axis] = slice(side - count, None) if upper else slice(0, count)
    known[tuple(slab)] = target[tuple(slab)]
    distance = side * random.uniform(0.0, MOST_OUTSIDE)

    def outside(place: np.ndarray) -> np.ndarray:
        moved = place.copy()
        moved[axis] = side + distance if upper else -distance
        return moved

    return known, outside


def ball(shape: Sequence[int], middle: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    """Bool (z, y, x): voxels whose index is within an ellipsoid of `radii` voxels around the index `middle`."""
    axes = np.ogrid[tuple(slice(size) for size in shape)]
    return np.asarray(sum(((axis - centre) / radius) ** 2
                          for axis, centre, radius in zip(axes, middle, radii, strict=True)) <= 1)


def _random_ball(
    shape: Sequence[int], middle: np.ndarray, token: Sequence[int], random: np.random.Generator
) -> np.ndarray:
    radius = random.uniform(*BALL_TOKENS)
    return ball(shape, middle.tolist(), [side * radius for side in token])
