"""Check before allocation whether memory can hold an array: Linux kills a process that takes too much, silently."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

from samunet.errors import UserError

_MEMINFO = Path("/proc/meminfo")
_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container; a number of bytes, or "max"


def require_memory(shape: Sequence[int], voxel_bytes: int, *, where: Path, why: str, mend: str) -> None:
    """Refuse an array of `shape` that takes more than the free memory.

    Arguments:
        shape: (z, y, x).
        voxel_bytes: bytes per voxel, summed over all arrays of that shape that exist at once.
        where: the file that the array comes from.
        why: what gives the array this shape, for the message.

    Raises:
        UserError: it does not fit.
    """
    needed, free = math.prod(shape) * voxel_bytes, free_bytes()
    if needed > free:
        raise UserError("A case must fit into memory.", where=where,
                        found=f"{' x '.join(map(str, shape))} voxels (z, y, x), {needed / 2**30:.1f} GiB, for "
                              f"{free / 2**30:.1f} GiB of free memory; {why}",
                        mend=mend)


def free_bytes() -> int:
    """Bytes that this process may still take: the machine's available memory, or its container's limit if less.

    Where the system does not report it (not Linux), all installed memory.
    """
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 2**63
    for line in _text(_MEMINFO).splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit = _text(_GROUP_LIMIT).strip()
    return min(free, int(limit)) if limit.isdecimal() else free


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
