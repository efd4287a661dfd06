"""Memory that a step of training or a window of prediction has freed, held by the process for the next one."""

from __future__ import annotations

import ctypes
import os

# glibc's <malloc.h>: numbers of mallopt, and the environment's names, which processes that are started later read.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_HELD = {
    (_MMAP_THRESHOLD, "MALLOC_MMAP_THRESHOLD_"): 2**25,  # the most that glibc allows
    (_TRIM_THRESHOLD, "MALLOC_TRIM_THRESHOLD_"): 2**29,
    (_TOP_PAD, "MALLOC_TOP_PAD_"): 2**26,
}


def hold_freed_memory() -> None:
    """Have this process, and those that it starts, return at most 512 MB of freed memory later than they could.

    By default glibc gives the activations of a step back to the system when they are freed, and the next step takes
    them anew, page by page: 8 % of a training step of `hybrid` and 12 to 17 % of a window (studies/speed.md). Arrays of
    more than 32 MB are returned at once, as before. An environment that sets one of these, and systems without glibc,
    are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None or any(name in os.environ for _, name in _HELD):
        return
    for (number, name), size in _HELD.items():
        mallopt(number, size)
        os.environ[name] = str(size)
