"""What the page sends: typed, bounded JSON. Places are voxels (superior, posterior, left) of the display grid."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from samunet.errors import UserError

MOST_BYTES = 2**20
MOST_PLACES = 10_000  # of one brush stroke
Index = Annotated[int, Meta(ge=0, lt=2**31)]
Voxel = tuple[Index, Index, Index]
ClassName = Annotated[str, Meta(max_length=200)]
R = TypeVar("R")


class Point(msgspec.Struct, tag="point", forbid_unknown_fields=True):
    """A click on a voxel of a class, or on one that must not be part of it."""

    place: Voxel
    label: ClassName
    positive: bool = True


class Box(msgspec.Struct, tag="box", forbid_unknown_fields=True):
    """A box around an object of a class; the voxels of both corners are in it."""

    first: Voxel
    last: Voxel
    label: ClassName


class Stroke(msgspec.Struct, tag="paint", forbid_unknown_fields=True):
    """A brush stroke in one plane; `label` None erases. `radius_mm` 0 is single voxels."""

    places: Annotated[list[Voxel], Meta(min_length=1, max_length=MOST_PLACES)]
    plane: Annotated[int, Meta(ge=0, le=2)]
    radius_mm: Annotated[float, Meta(ge=0, le=1000)]
    label: ClassName | None


class Undo(msgspec.Struct, tag="undo", forbid_unknown_fields=True):
    """Take the last action back."""


class Redo(msgspec.Struct, tag="redo", forbid_unknown_fields=True):
    """Do again what was taken back."""


class Finish(msgspec.Struct, tag="finish", forbid_unknown_fields=True):
    """Mark the case as finished, which makes it part of the dataset, or as not finished."""

    finished: bool


Action = Point | Box | Stroke | Undo | Redo | Finish


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """One action on a case. `version` is that of the state which the page displays."""

    case: Annotated[str, Meta(max_length=400)]
    version: Annotated[int, Meta(ge=0)]
    action: Action


def decoded(body: bytes) -> Request:
    """The request in a body of JSON.

    Raises:
        UserError: no JSON, NaN or infinity among it; another form, an unknown action, or a number out of its bounds.
    """
    try:
        return msgspec.json.decode(body, type=Request)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as fault:
        raise UserError("The page must send one action in JSON, with finite numbers in their bounds.",
                        where="request", found=str(fault)[:300],
                        mend="Reload the page; documentation/how-to/annotate.md lists the actions.") from fault
