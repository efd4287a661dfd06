"""Which draw of labelled cases is looked at on which fold, the same for every script that judges an encoder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def add_draws(parser: argparse.ArgumentParser) -> None:
    """`--draws`, or `--final`; read them with `draws_of` and `fold_of`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--draws", type=int, nargs="+", choices=range(4), default=[0, 1, 2, 3])
    which.add_argument("--final", action="store_true", help="draw 0 on fold 0, once, at the end")


def draws_of(options: argparse.Namespace) -> list[int]:
    """The draws to look at."""
    return [0] if options.final else options.draws


def fold_of(draw: int, final: bool) -> str:
    """Draw d is trained and validated on fold d + 1; fold 0 is kept for the end."""
    return "0" if final else str(draw + 1)


def rule_text(draws: Sequence[int], final: bool) -> str:
    """The rule in words, for a table."""
    return "draw 0 on fold 0, looked at once" if final else "draw d on fold d + 1, d = " + ", ".join(map(str, draws))
