"""Run ITK on one thread, so that results do not depend on how an image is divided among threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import SimpleITK as sitk

_lock = threading.Lock()
_inside = 0  # number of active blocks, over all threads of this process
_default = 0  # ITK's number of threads before the first of them


@contextmanager
def one_itk_thread() -> Iterator[None]:
    """Set ITK's global number of threads to 1; the last of several nested or parallel blocks restores the old number.

    A filter's own number does not reach the filters that it creates: those of `ImageRegistrationMethod` take the global
    number, and its metric is a sum over threads. Blocks may run in parallel threads, one pair of images each.
    """
    global _inside, _default
    with _lock:
        if _inside == 0:
            _default = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(_default)
