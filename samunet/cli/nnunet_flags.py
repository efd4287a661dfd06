"""Flags of nnU-Net that change nothing here: each is understood, and one message says why it has no effect."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any

from samunet import console
from samunet.console import say

CHECKPOINT = "checkpoint_final"


class Unneeded(argparse.Action):
    """A flag without effect: its reason is printed, once, and the command goes on."""

    def __init__(self, option_strings: Sequence[str], dest: str, reason: str, **named: Any) -> None:
        self.reason = reason
        super().__init__(option_strings, argparse.SUPPRESS, help=f"accepted for compatibility with nnU-Net and not "
                         f"used: {reason}", **named)

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        """Print why the flag is not used."""
        say(f"{option_string} is not used: {self.reason}")


class Refused(argparse.Action):
    """A flag that asks for what there is not: its reason is the usage error."""

    def __init__(self, option_strings: Sequence[str], dest: str, reason: str, **named: Any) -> None:
        self.reason = reason
        super().__init__(option_strings, argparse.SUPPRESS, help=f"refused: {reason}", **named)

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        """Exit with code 2."""
        parser.error(f"{option_string}: {self.reason}")


def checkpoint(text: str) -> str:
    """An argparse type: the only weights that a finished model has, by nnU-Net's file name or samunet's."""
    if not re.fullmatch(rf"{CHECKPOINT}(\.pth|\.safetensors)?", text):
        raise argparse.ArgumentTypeError(
            f"must be {CHECKPOINT}: no other weights are stored, since no validation case may choose among them")
    return text


def add_progress(parser: argparse.ArgumentParser, quiet: str) -> None:
    """`--verbose` and the flag `quiet` (nnU-Net names it differently in its commands); see `show_progress`."""
    parser.add_argument("--verbose", action="store_true", help="print a line for every case, with its name")
    parser.add_argument(quiet, dest="no_progress", action="store_true", help="print no progress")


def show_progress(options: argparse.Namespace) -> None:
    """Show progress as the flags of `add_progress` say; `--verbose` wins."""
    console.show_progress("cases" if options.verbose else "none" if options.no_progress else "bar")
