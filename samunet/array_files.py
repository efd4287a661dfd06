"""NumPy files with a checksum after the array, which `numpy.load` ignores."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np

from samunet.files import whole_file

MARK = b"samunet CRC-32: "
TRAILER_BYTES = len(MARK) + 4
# NumPy's exceptions for a damaged header.
NUMPY_FAULTS = (EOFError, MemoryError, OverflowError, SyntaxError, TokenError, TypeError, ValueError)


def write_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file, followed by the CRC-32 of its bytes."""
    stream = io.BytesIO()
    np.save(stream, array)
    content = stream.getvalue()
    with whole_file(path) as temporary:
        temporary.write_bytes(content + _trailer(content))


def read_array(path: Path) -> np.ndarray | None:
    """The array of a file; None if there is no file, or a damaged one.

    A complete .npy file without a checksum is read as it is.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    if content[-TRAILER_BYTES:].startswith(MARK):
        content, trailer = content[:-TRAILER_BYTES], content[-TRAILER_BYTES:]
        return np.load(io.BytesIO(content)) if trailer == _trailer(content) else None
    stream = io.BytesIO(content)
    try:
        array = np.load(stream, allow_pickle=False)
    except NUMPY_FAULTS:
        return None
    return array if stream.tell() == len(content) else None


def _trailer(content: bytes) -> bytes:
    return MARK + zlib.crc32(content).to_bytes(TRAILER_BYTES - len(MARK), "little")
