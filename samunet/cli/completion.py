"""Completion of command lines in a shell, by argcomplete."""

from __future__ import annotations

import argparse
from typing import Any

import argcomplete

from samunet.variants.registry import listed


def complete(parser: argparse.ArgumentParser) -> None:
    """Write the completions of the command line that the shell has put into the environment, and end the process.

    Flags, choices and files are argcomplete's; the names of variants are ours.
    """
    for action in parser._actions:
        if action.dest == "variant":
            vars(action)["completer"] = _variants
    argcomplete.autocomplete(parser)


def _variants(**_: Any) -> dict[str, str]:
    return listed()
