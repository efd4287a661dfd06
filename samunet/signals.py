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
# How long a command may take to clean up; then it ends as if killed, and the next call continues its work.
SECONDS_TO_END = 5.0


class _State:
    """The signals received; one state a process."""

    process: int | None = None  # that installed the handler
    announce = True
    received: int | None = None
    deferred = 0  # how many blocks defer it


def install(*, announce: bool = True) -> None:
    """Install the handlers of SIGINT and SIGTERM; called before any heavy import.

    Arguments:
        announce: print the line; False if the parent prints it, as for torchrun's processes.
    """
    _State.process, _State.received, _State.announce = os.getpid(), None, announce
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _handle)


def received() -> int | None:
    """The exit code of the signal that ends this process; None if none was received."""
    return None if _State.received is None else 128 + _State.received


def ignore() -> None:
    """Ignore further signals: the command's work and message are done, and its exit code is final."""
    if _State.process == os.getpid():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def deferred() -> Iterator[None]:
    """Defer signals within the block; processes started in it never get Ctrl-C, which their parent handles.
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
    if os.getpid() != _State.process:  # a forked worker: its parent prints the message
        os._exit(128 + number)
    if _State.received is None:  # a second one changes nothing: the command is already ending
        _State.received = number
        if not _State.deferred:
            _end(frame)


def _end(frame: FrameType | None) -> None:
    """Print the message, end the workers, and raise an exception if that is safe."""
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
    if _is_importing(frame):  # an import may turn the exception into any other, and needs no cleanup
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
    """Print no uncaught exceptions: the interruption causes them."""
