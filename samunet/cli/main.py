"""What all commands share: exit codes and the reporting of errors."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Sequence

from samunet import signals
from samunet.console import say
from samunet.errors import UserError

Main = Callable[[Sequence[str] | None], None]


def command(main: Main) -> Callable[..., int]:
    """Wrap a command's body so that it returns an exit code.

    The code is 0 on success, 2 with one message on bad input (argparse's usage errors too), and 1 with a traceback on
    an internal error. After a signal it is the signal's code, whatever exception a library made of the interruption.
    """

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        try:
            main(arguments)
        except BaseException as fault:  # noqa: BLE001 - the one place that turns any exception into an exit code
            return _exit_code(fault)
        return 0

    return run


def _exit_code(fault: BaseException) -> int:
    """Report `fault`; returns the exit code."""
    if (interrupted := signals.received()) is not None:
        return interrupted  # the handler has printed a line
    if isinstance(fault, SystemExit):
        raise fault
    if isinstance(fault, UserError):
        say(f"error: {fault}")
        return 2
    if isinstance(fault, KeyboardInterrupt):
        say(signals.MESSAGE)
        return 130
    traceback.print_exception(fault)
    return 1
