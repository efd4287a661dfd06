"""What all commands share: exit codes and how faults are told."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Sequence

from samunet import signals
from samunet.console import say
from samunet.errors import UserError

Main = Callable[[Sequence[str] | None], None]


def command(main: Main) -> Callable[..., int]:
    """Wrap a command's body: 0 when it returns, 2 with one message on bad input, 1 with a traceback on an internal fault.

    argparse's own usage errors exit with 2 as well. Where a signal came, its exit code counts, whatever exception that became on its way.
    """

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        try:
            main(arguments)
        except BaseException as fault:  # noqa: BLE001 - the one place that turns any fault into an exit code
            return _exit_code(fault)
        return 0

    return run


def _exit_code(fault: BaseException) -> int:
    """Say what there is to say of `fault`; returns the exit code."""
    if (interrupted := signals.received()) is not None:
        return interrupted  # the handler has said so
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
