"""What a command costs with all its processes, and what the machine's disk gives."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

EVERY_SECONDS = 0.1
PROBE_BYTES = 2**28


@dataclass(frozen=True)
class Cost:
    """Wall and processor seconds of a command, and the most memory that its processes held at once, in bytes.

    Memory that processes share is counted once (proportional set size); it is read ten times a second.
    """

    wall: float
    processor: float
    memory: int


def cost_of(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Cost:
    """Run a command to its end; what it prints goes into `log`.

    Raises:
        CalledProcessError: it failed.
    """
    before, most, ended = resource.getrusage(resource.RUSAGE_CHILDREN), [0], threading.Event()
    started = time.perf_counter()
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=stream, stderr=subprocess.STDOUT)

        def watch() -> None:
            while not ended.wait(EVERY_SECONDS):
                most[0] = max(most[0], held(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = process.wait()
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    ended.set()
    watcher.join()
    if code:
        raise subprocess.CalledProcessError(code, command, log.read_text(encoding="utf-8")[-2000:])
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, most[0])


def held(process: int) -> int:
    """Bytes that a process and all below it hold now."""
    try:
        tree = [psutil.Process(process), *psutil.Process(process).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(map(_held_by, tree))


def _held_by(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError, OSError):  # it has ended meanwhile
        return 0


def bytes_in(folder: Path) -> int:
    """Size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def disk_rates(folder: Path) -> tuple[float, float]:
    """Bytes a second read and written in `folder`, of a file of 256 MB that is written through to the disk.

    What was just written is read from memory where the system keeps it, as a command reads files that it, or the one
    before, has opened: the floor that these rates give is never too high.
    """
    place, block = folder / "probe.bin", os.urandom(2**24)
    started = time.perf_counter()
    with place.open("wb") as stream:
        for _ in range(PROBE_BYTES // len(block)):
            stream.write(block)
        stream.flush()
        os.fsync(stream.fileno())
    written = time.perf_counter()
    place.read_bytes()
    read = time.perf_counter()
    place.unlink()
    return PROBE_BYTES / (read - written), PROBE_BYTES / (written - started)
