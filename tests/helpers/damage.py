"""Damage that tests do to files."""

from __future__ import annotations

import os
from pathlib import Path


def flip(path: Path, place: int, bit: int = 16) -> None:
    """Flip one bit of the byte at `place`."""
    content = bytearray(path.read_bytes())
    content[place] ^= bit
    rewrite(path, bytes(content))


def truncate(path: Path, size: int) -> None:
    """Keep the first `size` bytes."""
    rewrite(path, path.read_bytes()[:size])


def rewrite(path: Path, content: bytes) -> None:
    """Write in place, at another time of change even where the clock has not moved since the last write."""
    before = path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=(before - 10**9, before - 10**9))
