"""NaN and Inf in NIfTI files, which ITK's reader replaces by 0 without a word."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

# The NIfTI `datatype` codes of real floats.
_FLOATS = {"16": "f4", "64": "f8"}
_BLOCK_BYTES = 1 << 22


def restore_not_finite(array: np.ndarray, path: Path, image: sitk.Image) -> None:
    """Put the NaN and Inf of a float NIfTI file back into `array`, as ITK read it, so that they can be told to the user.

    Files of other formats or types are left alone. The file is read once more, in blocks.

    Arguments:
        array: float, in the file's own voxel order (x fastest).
        image: what ITK read from `path`.
    """
    if not image.HasMetaDataKey("vox_offset") or image.GetMetaData("datatype") not in _FLOATS:
        return
    flat, start = array.reshape(-1), 0
    for block in _blocks(path, _FLOATS[image.GetMetaData("datatype")], int(float(image.GetMetaData("vox_offset")))):
        block = block[: flat.size - start]
        if not np.isfinite(block.sum(dtype=np.float64)):
            bad = ~np.isfinite(block)
            flat[start : start + block.size][bad] = block[bad]
        start += block.size


def _blocks(path: Path, kind: str, offset: int) -> Iterator[np.ndarray]:
    """The file's voxels as they are stored, block by block."""
    with open(path, "rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else open(path, "rb") as stream:
        # The header's own size (348, or 540 in NIfTI-2) comes first and tells the byte order.
        order = "<" if int.from_bytes(stream.read(4), "little") in (348, 540) else ">"
        stream.seek(offset)
        voxel = np.dtype(order + kind)
        while block := stream.read(_BLOCK_BYTES):
            yield np.frombuffer(block, voxel, count=len(block) // voxel.itemsize)
