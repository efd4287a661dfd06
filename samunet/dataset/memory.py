"""Check before allocation whether memory can hold an array: Linux kills a process that takes too much, silently."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from samunet.errors import UserError

_OWN_STATUS = Path("/proc/self/status")
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
    """Bytes that this process may still take: the machine's available memory, or what its container's limit or its own
    (see `limit_memory`) leaves, if less.

    Where the system does not report it (not Linux), all installed memory.
    """
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 2**63
    for line in _text(_MEMINFO).splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limit = _text(_GROUP_LIMIT).strip()
    free = min(free, int(limit)) if limit.isdecimal() else free
    own = _own_limit()
    return free if own is None else max(0, min(free, own - held_bytes()))


def held_bytes() -> int:
    """Bytes of private writable memory that this process has mapped, which is what its limit counts; 0 unless Linux."""
    lines = _text(_OWN_STATUS).splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:")), 0)


def limit_memory(gb: float) -> None:
    """Have the system refuse this process, and each that it starts, more than `gb` (10^9 bytes) of memory.

    Counted is private writable memory (RLIMIT_DATA), so that pages of programs and mapped files, which the system can
    drop, are not. What goes beyond it raises MemoryError. A lower limit that is in force stays.

    Raises:
        UserError: the process already holds as much, or the system does not enforce such a limit (not Linux).
    """
    if not sys.platform.startswith("linux"):
        raise UserError("--max_ram needs Linux, which enforces it.", found=sys.platform, mend="Leave it out.")
    import resource

    limit, held = int(gb * 1e9), held_bytes()
    if limit <= held:
        raise UserError("--max_ram must leave memory for the images.", where="--max_ram",
                        found=f"{gb:g} GB, of which the program itself takes {held / 1e9:.2f}", mend="Give more.")
    own, (_, most) = _own_limit(), resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if own is None else min(limit, own), most))


def _own_limit() -> int | None:
    """The limit of this process's private writable memory in bytes; None without one."""
    if not sys.platform.startswith("linux"):
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
