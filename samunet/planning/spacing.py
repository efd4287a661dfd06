"""The grid of the plan: target spacing and axis order, by nnU-Net v2's rules for `3d_fullres`.

Source of the rules: nnunetv2/experiment_planning/experiment_planners/default_experiment_planner.py (2.8.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from samunet.dataset.geometry import axis_not_in_file
from samunet.errors import UserError

ANISOTROPY = 3.0
LOW_PERCENTILE = 10

Three = tuple[float, float, float]
Shape = tuple[int, int, int]
Axes = tuple[int, int, int]


def target_spacing(spacings_mm: Sequence[Three], shapes: Sequence[Shape]) -> tuple[Three, str]:
    """The spacing to resample to, in the files' axis order (z, y, x), and the reason in one line.

    The median of each axis. Where the coarsest axis is over three times as coarse as the others and also has less than
    a third of their voxels, that axis takes its 10th percentile instead, but stays coarser than the others: the median
    would blur or drop slices of the cases that are finer there.

    Arguments:
        spacings_mm: one (z, y, x) for each case.
        shapes: voxels (z, y, x) of each case after the non-zero crop.
    """
    spacings = np.asarray(spacings_mm, float)
    target = np.percentile(spacings, 50, axis=0)
    sizes = np.percentile(np.asarray(shapes), 50, axis=0)
    worst = int(np.argmax(target))
    others = [axis for axis in range(3) if axis != worst]
    coarsest_other = max(target[axis] for axis in others)
    reason = f"median of {len(spacings)} cases, each axis alone"
    if target[worst] > ANISOTROPY * coarsest_other and sizes[worst] * ANISOTROPY < min(sizes[axis] for axis in others):
        median = target[worst]
        low = np.percentile(spacings[:, worst], LOW_PERCENTILE)
        target[worst] = low if low >= coarsest_other else coarsest_other + 1e-5
        reason += (
            f"; axis {worst} (median {median:g} mm, {sizes[worst]:g} voxels) is over {ANISOTROPY:g} times as "
            f"coarse and as short as the others, so its {LOW_PERCENTILE}th percentile is taken"
        )
    return _three(target), reason


def checked_spacing(spacing_mm: Sequence[float]) -> Three:
    """A spacing given by hand, in the files' axis order (z, y, x).

    Raises:
        UserError: not three positive numbers.
    """
    if len(spacing_mm) != 3 or not all(np.isfinite(value) and value > 0 for value in spacing_mm):
        raise UserError(
            "A target spacing must be three positive numbers, in mm, in array order (z y x).",
            where="-overwrite_target_spacing",
            found=" ".join(f"{value:g}" for value in spacing_mm),
            mend="Write for example: -overwrite_target_spacing 3 1 1",
        )
    return _three(spacing_mm)


def slice_axis_first(spacing_mm: Three) -> tuple[Axes, Axes]:
    """(transpose_forward, transpose_backward): the coarsest axis (the first of equals) first, the others in order."""
    slice_axis = int(np.argmax(spacing_mm))
    forward = [slice_axis, *(axis for axis in range(3) if axis != slice_axis)]
    first, second, third = (forward.index(axis) for axis in range(3))
    return (forward[0], forward[1], forward[2]), (first, second, third)


def resampled_shape(shape: Shape, spacing_mm: Three, new_spacing_mm: Three) -> Shape:
    """Voxels of an array after resampling: `round(spacing / new * size)` for each axis. All in the same axis order.

    A 2D file keeps its one slice, whatever the target: its slice spacing says nothing, and differs with the pixels'.
    """
    sizes = [round(old / new * size) for old, new, size in zip(spacing_mm, new_spacing_mm, shape, strict=True)]
    if (axis := axis_not_in_file(shape, spacing_mm)) is not None:
        sizes[axis] = 1
    return sizes[0], sizes[1], sizes[2]


def reordered(values: Sequence[float], axes: Axes) -> tuple[Any, ...]:
    """`values` in the order of `axes`."""
    return tuple(values[axis] for axis in axes)


def _three(values: Sequence[float] | np.ndarray) -> Three:
    return float(values[0]), float(values[1]), float(values[2])
