"""What a person does to a mask: points, boxes, a whole mask, strokes; typed, and JSON in a session's file."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta, Struct

from samunet.errors import UserError

FARTHEST = 1e9  # voxels
MOST_PLACES = 10_000  # of one stroke
COMPRESSION = 1  # zlib's fastest level: label maps shrink to a hundredth at any

Coordinate = Annotated[float, Meta(ge=-FARTHEST, le=FARTHEST)]
Place = tuple[Coordinate, Coordinate, Coordinate]
"""(z, y, x) in voxels of the session's array: whole numbers are the middles of voxels."""


class Point(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="point"):
    """A click: `place` is in the label `label` (positive) or must not be part of it."""

    place: Place
    label: str
    positive: bool = True


class Box(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="box"):
    """A 3D box around an object of `label`; its first (`low`) and its last (`high`) voxel belong to it."""

    low: Place
    high: Place
    label: str


class Mask(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="mask"):
    """A whole label map that replaces the mask, and with it all prompts and strokes before.

    Arguments:
        voxels: label values of the label space's integer type in C order, compressed by zlib.
        source: the file or model that it is from; empty for an array.
    """

    voxels: bytes
    source: str = ""

    @classmethod
    def of(cls, mask: np.ndarray, source: str = "") -> Mask:
        """From label values (Z, Y, X)."""
        return cls(zlib.compress(np.ascontiguousarray(mask).tobytes(), COMPRESSION), source)

    def array(self, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
        """The label values, `dtype` (Z, Y, X).

        Raises:
            UserError: the bytes are damaged or of another shape.
        """
        whole = int(np.prod(shape)) * dtype.itemsize
        try:
            unpacked = zlib.decompressobj().decompress(self.voxels, whole + 1)
        except zlib.error as fault:
            raise _damaged(str(fault)) from fault
        if len(unpacked) != whole:
            raise _damaged(f"{len(unpacked)} bytes where {whole} are expected")
        return np.frombuffer(unpacked, dtype).reshape(tuple(shape))


class Stroke(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="stroke"):
    """A stroke of a round brush in one plane; see `painting.brushed`.

    Arguments:
        places: the stroke's path. label: what is painted; `background` erases.
        axis: of the array, across the plane: 0 paints in a slice (y, x).
    """

    places: Annotated[tuple[Place, ...], Meta(min_length=1, max_length=MOST_PLACES)]
    label: str
    radius_mm: Annotated[float, Meta(ge=0, le=FARTHEST)]
    axis: Literal[0, 1, 2]


Prompt = Point | Box
Action = Point | Box | Mask | Stroke


def _damaged(found: str) -> UserError:
    return UserError("A session's stored masks must be whole and of its image's shape.", where="action `mask`",
                     found=found, mend="Restore the session's file from a copy.")
