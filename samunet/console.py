"""Output of commands: short lines on stderr, one progress bar for long work, one last line on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, TypeVar

from samunet.errors import UserError

T = TypeVar("T")
_said: set[str] = set()
_held: list[str] | None = None
_progress: Literal["bar", "cases", "none"] = "bar"


def say(message: str) -> None:
    """Print one line to stderr; if stderr cannot be written, the work continues without it."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def say_once(message: str) -> None:
    """Print one line to stderr, such as a warning about a file, unless this process has printed it before.

    A command reads a file in several steps and processes; the warning is printed once.
    """
    if _held is not None:
        _held.append(message)
    elif message not in _said:
        _said.add(message)
        say(message)


@contextmanager
def lines_held() -> Iterator[list[str]]:
    """Within it `say_once` adds to the list instead of printing: a worker process passes its lines to the command."""
    global _held
    before, _held = _held, []
    try:
        yield _held
    finally:
        _held = before


def result(message: str) -> None:
    """Print a command's last line, the path of the result, to stdout.

    A closed pipe (as by `head`) is ignored. Letters that stdout cannot show are escaped.

    Raises:
        UserError: stdout is a file that cannot be written.
    """
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(message.encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except BrokenPipeError:
        pass
    except OSError as fault:
        raise UserError("Standard output must be writable.", where="stdout", found=fault.strerror or str(fault),
                        mend="Redirect it elsewhere, or free some disk space.") from fault


def show_progress(kind: Literal["bar", "cases", "none"]) -> None:
    """What `progress` shows in this process from now on: its default, a line for each case, or nothing."""
    global _progress
    _progress = kind


def progress(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Yield `items` with one progress bar; if stderr is no terminal, print a plain line at every tenth."""
    if _progress == "none":
        yield from items
        return
    if _progress == "cases" or not sys.stderr.isatty():
        yield from _plain_progress(items, label, total, every=_progress == "cases")
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield from bar.track(items, total=total, description=label)


def _plain_progress(items: Iterable[T], label: str, total: int, *, every: bool) -> Iterator[T]:
    """Lines; `every` item's with its name, where it is a name or a tuple that begins with one, or has one."""
    step = 1 if every else max(total // 10, 1)
    for done, item in enumerate(items, 1):
        yield item
        if done % step == 0 or done == total:
            first = item[0] if isinstance(item, tuple) and item else item
            name = first if isinstance(first, str) else getattr(first, "name", "")
            say(f"{label}: {done}/{total}" + (f" {name}" if every and name else ""))
