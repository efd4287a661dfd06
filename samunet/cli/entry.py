"""Entry point of the console scripts: installs the signal handlers before the command and its imports are loaded."""
# PYTHON_ARGCOMPLETE_OK: argcomplete's global completion looks for these words here

from __future__ import annotations

import os
import signal
import sys

_script = os.path.basename(sys.argv[0]).startswith("samunet_")  # not a test or another program
# A shell ignores Ctrl-C for what it sent to the background.
if _script and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `run` installs the handlers: Ctrl-C ends imports in silence

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from samunet import signals


def __getattr__(name: str) -> Callable[[], int]:
    """The console script of command `name`, as in `samunet.cli.entry:train`."""
    if name.startswith("_"):
        raise AttributeError(name)
    return partial(run, name)


def run(name: str) -> int:
    """Import command `name` and run it with the process's arguments; returns its exit code."""
    signals.install(announce="TORCHELASTIC_RUN_ID" not in os.environ)
    try:
        module = import_module(f"samunet.cli.{name}")
        if "_ARGCOMPLETE" in os.environ:  # a shell wants completions: of this command line, and nothing else
            from samunet.cli.completion import complete

            complete(module.parser())
        code: int = module.main()
    # outside the command's own handling; an import may turn a signal into another exception
    except BaseException as fault:
        if signals.received() is None and not isinstance(fault, KeyboardInterrupt):
            raise
        code = signals.received() or 130
    finally:
        signals.ignore()
        _flush(sys.stdout)
        _flush(sys.stderr)
    return code


def _flush(stream: Any) -> None:
    """Flush now: at exit, a closed pipe would print a traceback."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
