"""samunet's installed console scripts, started as `warm_server` starts commands, for systems other than Linux."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


class Script:
    """A console script that has been started; see `warm_server.Command`."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        path = Path(sys.executable).with_name(f"samunet_{name}")
        self._process = subprocess.Popen([path, *map(str, arguments)], cwd=folder, text=True, stdout=subprocess.PIPE,
                                         stderr=subprocess.PIPE,
                                         env={**os.environ, **environment, "OMP_NUM_THREADS": "1"})
        self._output = ("", "")
        self.code: int | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def ends_within(self, seconds: float | None) -> bool:
        """Whether it ends within so many seconds; None waits for the end."""
        if self.code is None:
            try:
                self._output = self._process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                return False
            self.code = self._process.returncode
        return True

    def kill(self) -> None:
        """Send SIGKILL, and wait for the end."""
        self._process.kill()
        self.ends_within(None)

    @property
    def output(self) -> tuple[str, str]:
        """What it has written to stdout and to stderr, when it has ended."""
        return self._output


class Scripts:
    """See `warm_server.WarmServer`."""

    def start(self, name: str, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Script:
        return Script(name, arguments, folder, environment)

    def write_scripts(self, folder: Path) -> Path:
        """The folder of the installed scripts and of Python; nothing is written."""
        return Path(sys.executable).parent
