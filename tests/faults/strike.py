"""Strikes at named moments: a signal that a command sends to itself just before its n-th change of the file system."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def on_change(root: Path, act: Callable[[str, str], None]) -> None:
    """Call `act(event, path)` before each change below `root` that this process (not its workers) makes from Python.

    Renames, removals, new folders and files opened to be written are audit events of Python; `os.fsync` is wrapped.
    What libraries write from C is not seen: strikes at random moments meet that.
    """
    owner, below = os.getpid(), str(root)

    def told(event: str, path: Any) -> None:
        if os.getpid() == owner and isinstance(path, str | bytes | os.PathLike):
            text = os.fsdecode(path)
            # shutil.rmtree names files by their folder's descriptor
            if text.startswith(below) or not os.path.isabs(text):
                act(event, text)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in CHANGES:
            told(event, arguments[1] if event == "os.rename" else arguments[0])
        elif event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING:
            told(event, arguments[0])

    sys.addaudithook(hook)
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        told("os.fsync", f"{below}/descriptor")
        flush(descriptor)

    os.fsync = fsync


def strike(root: Path, number: int, kind: signal.Signals) -> Callable[[], None]:
    """What a forked command does first, so that it gets signal `kind` before its change number `number` (from 0)."""

    def prepare() -> None:
        left = [number]

        def act(event: str, path: str) -> None:
            left[0] -= 1
            if left[0] == -1:
                os.kill(os.getpid(), kind)

        on_change(root, act)

    return prepare


def noted(root: Path, notes: Path) -> Callable[[], None]:
    """What a forked command does first, so that `notes` holds a line for each of its changes."""

    def prepare() -> None:
        descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        on_change(root, lambda event, path: (os.write(descriptor, f"{event}\t{path}\n".encode()), None)[1])

    return prepare
