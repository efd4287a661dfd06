"""How many voxels a file holds, from its first bytes alone: for what is expected before anything is read."""

from __future__ import annotations

import gzip
import math
import struct
from pathlib import Path

# `sizeof_hdr` of NIfTI-1 and NIfTI-2: where the eight sizes are, and how struct reads them.
_SIZES = {348: (40, "8h"), 540: (16, "8q")}
_BYTES = 80  # hold the sizes of either


def header_voxels(path: Path) -> int | None:
    """The voxels that the header of a NIfTI file states, over all of its axes.

    Nothing is checked: reading the file reports what is wrong with it. None where there is no such header, in files
    of other formats, and in files that cannot be opened.
    """
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            content = stream.read(_BYTES)
    except (OSError, EOFError):
        return None
    for order in "<>":
        place = _SIZES.get(struct.unpack_from(f"{order}i", content)[0]) if len(content) == _BYTES else None
        if place is not None:
            axes, *sizes = struct.unpack_from(order + place[1], content, place[0])
            counted = sizes[:axes]
            return math.prod(counted) if counted and min(counted) > 0 else None
    return None
