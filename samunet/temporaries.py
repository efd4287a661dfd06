"""Names of unfinished files, and the removal of those whose writer has died."""

from __future__ import annotations

import itertools
import os
import platform
import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

TEMPORARY_PREFIX = ".unfinished-"
REPLACED_PREFIX = ".replaced-"
# For processes of other hosts, only the age of their files is known.
ABANDONED_SECONDS = 3600
MOST_TAIL = 30  # characters of the final name: its ending, by which writers choose the format, within 255 bytes in all
_OWNER = re.compile(r"\.(?:unfinished|replaced)-(?P<host>[^-]+)-(?P<process>\d+)(?:\.(?P<start>\d+))?-\d+-")
_serial = itertools.count()
_cleared: set[Path] = set()


def temporary_beside(path: Path, prefix: str = TEMPORARY_PREFIX) -> Path:
    """A hidden name in the folder of `path`, with the same ending, unique by host, process and process start."""
    process = os.getpid()
    state = _state_and_start(process)
    owner = f"{process}.{state[1]}" if state else str(process)
    return path.with_name(f"{prefix}{HOST}-{owner}-{next(_serial)}-{path.name[-MOST_TAIL:]}")


def is_temporary(path: Path) -> bool:
    """Whether `path` has the name of a file or folder that is being written or replaced."""
    return path.name.startswith((TEMPORARY_PREFIX, REPLACED_PREFIX))


def is_abandoned(path: Path) -> bool:
    """Whether the writer of an unfinished file or folder is dead: its process has ended.

    If its name has no process of this host, it counts as abandoned after an hour without changes.
    """
    owner = _OWNER.match(path.name)
    if owner and owner["host"] == HOST:
        return not _is_alive(int(owner["process"]), owner["start"])
    try:
        return time.time() - path.lstat().st_mtime > ABANDONED_SECONDS
    except FileNotFoundError:  # its writer has finished
        return False


def clear_abandoned(folder: Path) -> None:
    """Remove unfinished files of dead writers from `folder`; files of living writers stay."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_temporary(path) and is_abandoned(path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):  # another command has removed it
                    path.unlink()


def clear_abandoned_once(folder: Path) -> None:
    """As `clear_abandoned`, before this process writes into `folder` for the first time."""
    if folder not in _cleared:
        _cleared.add(folder)
        clear_abandoned(folder)


def _host() -> str:
    """This host's name; on Linux also its namespace of process ids, since containers with equal names do not see each
    other's processes.
    """
    name = re.sub(r"[^A-Za-z0-9_.]", "_", platform.node())[:32] or "unknown"
    with suppress(OSError):
        name += f".{os.stat('/proc/self/ns/pid').st_ino}"
    return name


def _state_and_start(process: int) -> tuple[str, str] | None:
    """State (Z: ended, but not yet collected by its parent) and start, in ticks since boot; None without Linux's
    /proc/PID/stat.
    """
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as stream:
            fields = stream.read().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], fields[19]


def _is_alive(process: int, start: str | None) -> bool:
    """Whether process `process` of this host runs; True if that is unknown.

    Numbers of ended processes are reused, so `start`, if the name has it, must be that of the process.
    """
    if found := _state_and_start(process):
        return found[0] not in "ZX" and start in (None, found[1])
    if os.name != "posix":  # Windows would end it
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


HOST = _host()
