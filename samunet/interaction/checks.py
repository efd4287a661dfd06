"""What a session refuses: places outside the image, numbers that are none, labels that it does not have."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from samunet.dataset.labels import LabelSpace
from samunet.dataset.segmentations import ignore_problems, value_problems
from samunet.errors import UserError, joined
from samunet.interaction.actions import FARTHEST, MOST_PLACES, Action, Box, Mask, Place, Stroke
from samunet.interaction.painting import voxels_of

BACKGROUND = "background"


def require_action(action: Action, shape: Sequence[int], labels: LabelSpace) -> None:
    """Refuse an action that an image of `shape` and these labels cannot have.

    Raises:
        UserError: an unknown label; places or boxes outside the image, numbers that are not finite; a stroke in several
            planes; a whole mask that is damaged or has other values.
    """
    if isinstance(action, Mask):
        values, path = action.array(shape, labels.dtype), Path(action.source or "mask")
        if problems := value_problems(values, labels, path) + ignore_problems(values, labels, path):
            raise joined(problems)
        return
    label_name(action.label, labels, background=isinstance(action, Stroke))
    if isinstance(action, Stroke):
        _require_stroke(action, shape)
    elif isinstance(action, Box):
        require_box(place_of(action.low), place_of(action.high), shape)
    else:
        require_inside(place_of(action.place), shape)


def place_of(given: Any) -> Place:
    """Three finite numbers (z, y, x).

    Raises:
        UserError: anything else.
    """
    try:
        numbers = [each.item() if isinstance(each, np.generic) else each for each in given]
    except TypeError:
        numbers = []
    if len(numbers) != 3 or not all(_is_number(each) for each in numbers):
        raise UserError(f"A place must be three finite numbers (z, y, x), each at most {FARTHEST:g} in magnitude.",
                        found=reprlib.repr(given), mend="Give indices of the image's array; whole numbers are the "
                                                        "middles of voxels.")
    return float(numbers[0]), float(numbers[1]), float(numbers[2])


def require_inside(place: Place, shape: Sequence[int]) -> None:
    """Refuse a place that is in no voxel of the image.

    Raises:
        UserError: names place and shape.
    """
    voxel = voxels_of(np.array(place))
    if not ((voxel >= 0) & (voxel < np.array(shape))).all():
        raise UserError("A place must be inside the image.", found=f"{list(place)}, image of {_by(shape)} voxels "
                                                                   "(z, y, x)",
                        mend="Check the order z, y, x, and that the numbers are voxels, not mm.")


def require_box(low: Place, high: Place, shape: Sequence[int]) -> None:
    """Refuse a box that ends before it begins, or that has no voxel of the image.

    Raises:
        UserError: names its corners.
    """
    if any(first > last for first, last in zip(low, high, strict=True)):
        raise UserError("A box must have no low corner above its high corner.", found=f"{list(low)} to {list(high)}")
    if not ((voxels_of(np.array(high)) >= 0) & (voxels_of(np.array(low)) < np.array(shape))).all():
        raise UserError("A box must meet the image.",
                        found=f"{list(low)} to {list(high)}, image of {_by(shape)} voxels (z, y, x)",
                        mend="Check the order z, y, x, and that the numbers are voxels, not mm.")


def _require_stroke(stroke: Stroke, shape: Sequence[int]) -> None:
    if not 0 < len(stroke.places) <= MOST_PLACES:
        raise UserError(f"A stroke must have 1 to {MOST_PLACES} places.", found=f"{len(stroke.places)} places",
                        mend="Paint in several strokes.")
    if not _is_whole(stroke.axis) or stroke.axis not in (0, 1, 2):
        raise UserError("The axis of a stroke must be 0 (z), 1 (y) or 2 (x).", found=reprlib.repr(stroke.axis))
    if not _is_number(stroke.radius_mm) or stroke.radius_mm < 0:
        raise UserError("The radius of a brush must be a finite number of mm, 0 or more.",
                        found=reprlib.repr(stroke.radius_mm))
    for place in stroke.places:
        require_inside(place_of(place), shape)
    planes = voxels_of(np.array(stroke.places))[:, stroke.axis]
    if planes.min() < planes.max():
        raise UserError("All places of a stroke must be in one plane across its axis.",
                        found=f"axis {stroke.axis}, planes {planes.min()} to {planes.max()}",
                        mend="Paint plane by plane.")


def label_name(label: Any, labels: LabelSpace, background: bool = False) -> str:
    """The name of a label or region that is given by name, or by value.

    Arguments:
        background: whether 0 or `background` is accepted.

    Raises:
        UserError: an unknown label; lists the known ones.
    """
    names = {labels.name_of(each): each for each in labels.foreground}
    if background and (_is_whole(label) and label == 0 or isinstance(label, str) and label == BACKGROUND):
        return BACKGROUND
    for name, value in names.items():
        if isinstance(label, str) and label == name:
            return name
        if _is_whole(label) and value in (label, (label,)):
            return name
    raise UserError("A prompt must be of a label of the session.", found=reprlib.repr(label),
                    mend=f"Use one of: {', '.join([*([BACKGROUND] if background else []), *names])}.")


def painted_value(name: str, labels: LabelSpace) -> int:
    """The value that a voxel of a label has in the mask; of a region the one that `regions_class_order` names."""
    if name == BACKGROUND:
        return 0
    index = [labels.name_of(label) for label in labels.foreground].index(name)
    if labels.regions_class_order is not None:
        return labels.regions_class_order[index]
    value = labels.foreground[index]
    assert isinstance(value, int)
    return value


def _is_number(value: Any) -> bool:
    number: Any = value  # NaN is not one; a whole number may be too large for a float
    return isinstance(value, Real) and not isinstance(value, bool) and bool(abs(number) <= FARTHEST)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
