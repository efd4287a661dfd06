"""Voxels of NIfTI files as they are stored: nothing is repaired, not even NaN and Inf."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from samunet.dataset.io.nifti_header import NiftiLayout
from samunet.dataset.voxel_checks import cannot_read

GZIP_MARK = b"\x1f\x8b"
MOST_INFLATION = 1032  # of deflate: nothing unpacks to more bytes for each packed one
GZIP = 16 + zlib.MAX_WBITS


def unpacked(packed: bytes, length: int, path: Path) -> bytes:
    """The first `length` bytes of a file's content, gzipped or not, regardless of its name; fewer if it is shorter.

    If the stream ends there, its checksum is compared.

    Raises:
        UserError: a gzip stream that is damaged, or followed by anything but another one.
    """
    if not packed.startswith(GZIP_MARK):
        return packed
    parts, missing = [], length
    try:
        while missing > 0 and packed:
            inflate = zlib.decompressobj(GZIP)
            parts.append(inflate.decompress(packed, missing + 1))  # one more, so that the stream's end is met
            missing -= len(parts[-1])
            if not inflate.eof:
                if missing >= 0:
                    raise EOFError("the compressed stream is cut off")
                break
            packed = inflate.unused_data.lstrip(b"\0")
            if packed and not packed.startswith(GZIP_MARK):
                raise zlib.error("something other than gzip follows the compressed stream")
    except (EOFError, zlib.error) as fault:
        raise cannot_read(path, fault) from fault
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_voxels(packed: bytes, layout: NiftiLayout, path: Path) -> np.ndarray:
    """Array (C, Z, Y, X) in the file's own type; with slope and intercept as float32 (float64 files as float64).

    Arguments:
        packed: the file's content.

    Raises:
        UserError: a file that is shorter than its header says.
    """
    possible = len(packed) * (MOST_INFLATION if packed.startswith(GZIP_MARK) else 1)
    if possible < layout.end:  # before it is unpacked
        raise cannot_read(path, ValueError(f"at most {possible} bytes (unpacked) of {layout.end}"))
    content = unpacked(packed, layout.end, path)
    if len(content) < layout.end:
        raise cannot_read(path, ValueError(f"{len(content)} bytes (unpacked) of {layout.end}"))
    channels, *space = layout.shape
    numbers = np.frombuffer(content, layout.dtype, channels * space[0] * space[1] * space[2], layout.offset)
    if layout.interleaved:
        return np.moveaxis(numbers.reshape(*space, channels), -1, 0)
    return _scaled(numbers.reshape(layout.shape), layout)


def _scaled(array: np.ndarray, layout: NiftiLayout) -> np.ndarray:
    if layout.slope == 1 and layout.intercept == 0:
        return array
    # As ITK and nnU-Net: the product in float64, the result in float32, so that labels with a slope of 0.1 are
    # whole numbers again.
    scaled = np.empty(array.shape, np.float64 if array.dtype.itemsize == 8 and array.dtype.kind == "f" else np.float32)
    with np.errstate(over="ignore"):  # values beyond float32 become Inf, which is refused later
        for channel, values in zip(scaled, array, strict=True):
            for plane, stored in zip(channel, values, strict=True):
                plane[...] = stored.astype(scaled.dtype).astype(np.float64) * layout.slope + layout.intercept
    return scaled
