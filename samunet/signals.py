"""Ctrl-C and SIGTERM: one line, no process left behind, and exit code 128 and the signal's number."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

MESSAGE = "interrupted; run the same command again to continue"
# How long a command may take to put away what it works on; then it is ended as by a kill, after which the next call
# goes on.
SECONDS_TO_END = 5.0


class _State:
    """What has come in; one process has one state."""

    process: int | None = None  # that installed the handler
    announce = True
    received: int | None = None
    deferred = 0  # how many blocks defer it


def install(*, announce: bool = True) -> None:
    """Handle SIGINT and SIGTERM as this module says; before anything heavy is imported.

    Arguments:
        announce: print the line; not where the parent prints it, as of torchrun's processes.
    """
    _State.process, _State.received, _State.announce = os.getpid(), None, announce
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _handle)


def received() -> int | None:
    """The exit code of the signal that ends this process; None where none came."""
    return None if _State.received is None else 128 + _State.received


def ignore() -> None:
    """Ignore further signals: the command's work and message are done, and its exit code stands."""
    if _State.process == os.getpid():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def deferred() -> Iterator[None]:
    """Within the block a signal waits; processes that are started in it never get Ctrl-C, which their parent answers
    for them.
    """
    mask = hasattr(signal, "pthread_sigmask")  # POSIX
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if mask else set()
    _State.deferred += 1
    try:
        yield
    finally:
        _State.deferred -= 1
        if mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if _State.received is not None and not _State.deferred:
            _end(None)


def _handle(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _State.process:  # a forked worker: its parent says what is to be said
        os._exit(128 + number)
    if _State.received is None:  # a second one changes nothing: the command ends already
        _State.received = number
        if not _State.deferred:
            _end(frame)


def _end(frame: FrameType | None) -> None:
    """Say so, end the workers, and leave by an exception where that is safe."""
    number = _State.received
    assert number is not None
    if _State.announce:
        with suppress(OSError):
            os.write(2, f"{MESSAGE}\n".encode())
    sys.excepthook = sys.unraisablehook = threading.excepthook = _silent
    if logging := sys.modules.get("logging"):
        logging.disable()
    if workers := sys.modules.get("multiprocessing"):
        for worker in workers.active_children():
            worker.kill()
    if _is_importing(frame):  # half an import may turn the exception into any other, and has nothing to put away
        os._exit(128 + number)
    # threading's own start could wait for a lock that this thread holds
    _thread.start_new_thread(_end_later, (128 + number,))
    raise KeyboardInterrupt


def _end_later(code: int) -> None:
    time.sleep(SECONDS_TO_END)
    os._exit(code)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _silent(*_: Any) -> None:
    """Say nothing of exceptions that nobody catches: they come of the interruption."""
