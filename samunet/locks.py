"""Lock files: commands that use one folder at the same time wait for each other, or report who uses it."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from samunet.console import say
from samunet.errors import UserError
from samunet.files import make_folder, writing

if TYPE_CHECKING:
    from filelock import BaseFileLock


def lock_beside(path: Path) -> Path:
    """The hidden lock file of a file or folder."""
    return path.with_name(f".{path.name}.lock")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` within the block, after waiting for its holder; it is free as soon as the holder dies.

    Everyone who may write in the folder may hold it, regardless of the first holder's umask: results are shared.

    Raises:
        UserError: the file cannot be created or opened.
    """
    lock = _lock(path)
    if not _acquired(lock, path):
        _wait(lock, path)
    with _held(lock, path):
        yield


@contextmanager
def owned(path: Path, place: Path, *, wait: bool = False) -> Iterator[None]:
    """Own `place` within the block, by the lock file `path`, which is removed afterwards: results hold no lock files.

    Arguments:
        wait: wait for another owner to end, instead of raising.

    Raises:
        UserError: another process owns it; or the lock file cannot be created or opened.
    """
    lock = _lock(path)
    if not _acquired(lock, path):
        if not wait:
            raise UserError("Only one command at a time may use a folder.", where=place, found=_holder(path),
                            mend="Wait until that command has ended, or end it; then run this command again.")
        _wait(lock, path)
    with _held(lock, path):
        try:
            yield
        finally:
            with suppress(OSError):  # a waiting process that gets it now finds it removed, and creates it again
                path.unlink()


def _lock(path: Path) -> BaseFileLock:
    from filelock import FileLock

    make_folder(path.parent)
    return FileLock(path, mode=0o666)


def _wait(lock: BaseFileLock, path: Path) -> None:
    say(f"waiting for {_holder(path)}, which uses {path.parent}")
    with writing(path):
        lock.acquire()


def _acquired(lock: BaseFileLock, path: Path) -> bool:
    from filelock import Timeout

    with writing(path):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
    return True


@contextmanager
def _held(lock: BaseFileLock, path: Path) -> Iterator[None]:
    """Record the holder in a file next to `path`, for messages of others; the lock itself is the operating system's.
    """
    record = _record(path)
    content = {"command": Path(sys.argv[0]).name, "process": os.getpid(), "host": platform.node(),
               "since": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        with suppress(OSError):  # then messages lack the holder's name
            record.write_text(json.dumps(content), encoding="utf-8")
        yield
    finally:
        with suppress(OSError):
            record.unlink()
        lock.release()


def _holder(path: Path) -> str:
    """The holder of the lock file `path`, if it is recorded."""
    try:
        content = json.loads(_record(path).read_text(encoding="utf-8"))
        return f"{content['command']}, process {content['process']} on {content['host']}, since {content['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _record(path: Path) -> Path:
    return path.with_name(f".{path.name.lstrip('.')}.holder")
