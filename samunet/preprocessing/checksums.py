"""CRC-32 of files, compared once per process and file."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

CHUNK_BYTES = 2**20
# File -> size, time of change and inode at which its content was found right.
_proven: dict[Path, tuple[int, int, int]] = {}


def checksum_of_file(path: Path) -> int:
    """CRC-32 of a file's bytes: against damage, not against intent, at twice the speed of SHA-256."""
    checksum = 0
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def proven(path: Path, proof: Callable[[], bool]) -> bool:
    """Whether the content of a file is right by `proof`, which is called once per process while the file does not change.

    Raises:
        OSError: there is no such file.
    """
    status = path.stat()
    state = status.st_size, status.st_mtime_ns, status.st_ino
    if _proven.get(path) == state:
        return True
    if not proof():
        return False
    _proven[path] = state
    return True
