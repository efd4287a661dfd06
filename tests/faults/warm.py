"""Commands in processes forked from this one: how each ends, what it says, and signals on its way."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.warm import be_command

SLOW_S = 120.0


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or the negative number of the signal that ended it."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def last(self) -> str:
        return next(iter(self.err.strip().splitlines()[-1:]), "")


class Running:
    """A command in a process group of its own."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str],
                 prepare: Callable[[], None] | None = None) -> None:
        self._began = time.monotonic()
        self._folder = tempfile.TemporaryDirectory(prefix="told-")
        self._told = [Path(self._folder.name, name) for name in ("out", "err")]
        for path in self._told:
            path.touch()  # a command that is killed at once has said nothing
        self._code: int | None = None
        sys.stdout.flush(), sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            streams = {number: os.open(path, os.O_WRONLY) for number, path in enumerate(self._told, 1)}
            be_command(command[0], command[1:], environment, streams, prepare)

    def poll(self) -> int | None:
        """The exit code, or None while the command runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
        return self._code

    def send(self, number: signal.Signals, *, group: bool = False) -> None:
        """Send a signal to the process, or to its group; nothing where it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                (os.killpg if group else os.kill)(self.pid, number)

    def children(self) -> list[int]:
        """Process ids of the command's workers."""
        with contextlib.suppress(OSError):
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []

    def end(self, limit_s: float = SLOW_S) -> Ended:
        """Wait for the end; a command that takes longer than `limit_s` is killed, and says so."""
        while self.poll() is None and time.monotonic() - self._began < limit_s:
            time.sleep(0.002)
        late = self.poll() is None
        self.send(signal.SIGKILL, group=True)
        while self.poll() is None:
            time.sleep(0.002)
        out, err = (path.read_text(encoding="utf-8", errors="replace") for path in self._told)
        self._folder.cleanup()
        code = self.poll()
        assert code is not None
        return Ended(code, out, err + (f"\nTIMEOUT after {limit_s:g} s" if late else ""),
                     time.monotonic() - self._began)


def run(command: Sequence[str], environment: Mapping[str, str], prepare: Callable[[], None] | None = None,
        limit_s: float = SLOW_S) -> Ended:
    """Run a command to its end: its name without `samunet_`, then its arguments."""
    return Running(command, environment, prepare).end(limit_s)


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A temporary folder, in memory where there is room for it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix=prefix, dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)
