"""What commands tell the user: short lines on stderr, one progress bar on long work, one last line on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TypeVar

from samunet.errors import UserError

T = TypeVar("T")


def say(message: str) -> None:
    """Print one line of progress news to stderr; where nobody can read it, the work goes on without."""
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def result(message: str) -> None:
    """Print a command's last line, which says where the result lies, to stdout; a reader that has gone, as `head`, misses it.

    Raises:
        UserError: stdout is a file that cannot be written.
    """
    try:
        print(message, flush=True)
    except BrokenPipeError:
        pass
    except OSError as fault:
        raise UserError("Standard output must be writable.", where="stdout", found=fault.strerror or str(fault),
                        mend="Redirect it elsewhere, or free the disk.") from fault


def progress(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    """Yield `items` behind one progress bar; where stderr is no terminal, a plain line at every tenth."""
    if not sys.stderr.isatty():
        yield from _plain_progress(items, label, total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield from bar.track(items, total=total, description=label)


def _plain_progress(items: Iterable[T], label: str, total: int) -> Iterator[T]:
    step = max(total // 10, 1)
    done = 0
    for done, item in enumerate(items, 1):
        yield item
        if done % step == 0 or done == total:
            say(f"{label}: {done}/{total}")
