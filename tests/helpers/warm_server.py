"""A process that has imported what samunet's commands need and forks one for whoever asks, and those who ask.

A command is a process of its own: it has its arguments, folder, environment, processors and output files, an exit code,
and can be killed. On systems other than Linux, `console_scripts` starts the installed scripts instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Self

import warm

# What a shell finds under a console script's name. It must start in milliseconds: no imports but these.
SCRIPT = """\
    #!{python} -IS
    import json, os, signal, socket, struct, sys
    asked = dict(name={name!r}, arguments=sys.argv[1:], folder=os.getcwd(), environment=dict(os.environ),
                 processors=sorted(os.sched_getaffinity(0)))
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect({address!r})
        socket.send_fds(connection, [b"x"], [0, 1, 2])
        connection.sendall(json.dumps(asked).encode() + b"\\n")
        process, = struct.unpack("i", connection.recv(4))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda number, _: os.kill(process, number))
        code, = struct.unpack("i", connection.recv(4))
    sys.exit(code if code >= 0 else 128 - code)
"""


class Command:
    """A command that the server has started. `code` is its exit code, or the negative number of the signal that ended
    it, or None as long as nobody has waited for its end."""

    def __init__(self, address: Path, name: str, arguments: Sequence[str], folder: Path,
                 environment: Mapping[str, str]) -> None:
        self._told = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115 - read when the command has ended
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(str(address))
        with open(os.devnull) as nothing:
            socket.send_fds(self._connection, [b"x"], [each.fileno() for each in (nothing, *self._told)])
        asked = {"name": name, "arguments": list(map(str, arguments)), "folder": str(folder),
                 "environment": dict(environment), "processors": sorted(os.sched_getaffinity(0))}
        self._connection.sendall(json.dumps(asked).encode() + b"\n")
        self.pid = self._number()
        self.code: int | None = None

    def ends_within(self, seconds: float | None) -> bool:
        """Whether the command ends within so many seconds; None waits for the end."""
        if self.code is None:
            self._connection.settimeout(seconds)
            try:
                self.code = self._number()
            except TimeoutError:
                return False
            self._connection.close()
        return True

    def _number(self) -> int:
        return int(struct.unpack("i", self._connection.recv(4))[0])

    def kill(self) -> None:
        """Send SIGKILL to a command, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(self.pid, signal.SIGKILL)
        self.ends_within(None)

    @property
    def output(self) -> tuple[str, str]:
        """What an ended command has written to stdout and to stderr."""
        texts = []
        for each in self._told:
            each.seek(0)
            texts.append(each.read().decode())
        return texts[0], texts[1]


class WarmServer:
    """The server's process, started for the first command, ended with the block."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")  # a socket's address must be short
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.communicate()  # closes its stdin, which ends it
        self._folder.cleanup()

    @property
    def address(self) -> Path:
        """The server's socket."""
        path = Path(self._folder.name, "socket")
        if self._process is None:
            self._process = subprocess.Popen([sys.executable, __file__, path], stdin=subprocess.PIPE)
        while not path.exists():
            assert self._process.poll() is None, "the server has ended"
            time.sleep(0.01)
        return path

    def start(self, name: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Command:
        return Command(self.address, name, arguments, folder, environment)

    def write_scripts(self, folder: Path) -> Path:
        """Write a script `samunet_<name>` of each command, and one `python`, to a new folder; a shell finds them."""
        folder.mkdir()
        for name in (*warm.COMMANDS, "python"):
            path = folder / (name if name == "python" else f"samunet_{name}")
            path.write_text(textwrap.dedent(SCRIPT).format(python=sys.executable, name=name, address=str(self.address)))
            path.chmod(0o700)
        return folder


def serve(address: Path) -> None:
    """Until stdin is closed, fork a process for each connection, which forks the command and waits for its end."""
    warm.warm_up()
    with socket.socket(socket.AF_UNIX) as listener:
        unnamed = f"{address}.new"  # a socket that can be found can be connected to
        listener.bind(unnamed)
        listener.listen()
        os.rename(unnamed, address)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            _collect(os.WNOHANG)
            if os.fork() == 0:
                listener.close()
                _look_after(connection)
            connection.close()
    _collect(0)


def _collect(options: int) -> None:
    """Wait for processes that have ended, or for all: their processors' time is then counted as this process's."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options)[0]:
            pass


def _look_after(connection: socket.socket) -> NoReturn:
    """Start the command, send its process id, wait for its end, send its exit code; it ends with whoever asked."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 3)
    asked = json.loads(connection.makefile("rb").readline())
    pid = os.fork()
    if pid == 0:
        connection.close()
        os.sched_setaffinity(0, asked["processors"])
        os.chdir(asked["folder"])
        warm.be_command(asked["name"], asked["arguments"], asked["environment"], dict(enumerate(streams)))
    connection.sendall(struct.pack("i", pid))
    if connection in select.select([connection, os.pidfd_open(pid)], [], [])[0]:  # closed
        os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(struct.pack("i", code))
    os._exit(0)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
