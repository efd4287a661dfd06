"""What all commands share: exit codes and how faults are told."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable, Sequence

from samunet.errors import UserError

Main = Callable[[Sequence[str] | None], None]


def command(main: Main) -> Callable[..., int]:
    """Wrap a command's body: 0 when it returns, 2 with one message on bad input, 1 with a traceback on an internal fault.

    argparse's own usage errors exit with 2 as well.
    """

    @functools.wraps(main)
    def run(arguments: Sequence[str] | None = None) -> int:
        try:
            main(arguments)
        except UserError as fault:
            print(f"error: {fault}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("interrupted; run the same command again to continue", file=sys.stderr)
            return 130
        except Exception:  # noqa: BLE001 - the one place that turns any fault into an exit code
            traceback.print_exc()
            return 1
        return 0

    return run
