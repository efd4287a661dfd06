"""Types of command-line flags: bounded numbers, folds, and lists without duplicates. Imports nothing heavy."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any

MOST_PROCESSES = 1024
MOST_ITERATIONS = 10**7
MOST_MINUTES = 525_600  # a year
MOST_CASES = 10**6
MOST_RAM_GB = 10**6
LARGEST_SEED = 2**32 - 1  # of NumPy's generators
SHOWN = 40


def whole(low: int, high: int) -> Callable[[str], int]:
    """An argparse type: a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        # Python refuses to convert numbers with thousands of digits.
        if not re.fullmatch(r"[+-]?[0-9]{1,20}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, not {text[:SHOWN]}")
        return int(text)

    return parse


def real(low: float, high: float, *, above: bool = False) -> Callable[[str], float]:
    """An argparse type: a number from `low` (excluded if `above`) to `high`."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not low <= number <= high or (above and number == low):
            bounds = f"above {low:g} and at most {high:g}" if above else f"from {low:g} to {high:g}"
            raise argparse.ArgumentTypeError(f"must be a number {bounds}, not {text[:SHOWN]}")
        return number

    return parse


def fold(text: str) -> str:
    """An argparse type: the number of a fold, or `all`."""
    if not re.fullmatch(r"all|0|[1-9][0-9]{0,3}", text):
        raise argparse.ArgumentTypeError(f"must be the number of a fold, or all, not {text[:SHOWN]}")
    return text


def shots(text: str) -> int | None:
    """An argparse type: a number of labelled cases, or `all` (None)."""
    return None if text == "all" else whole(1, MOST_CASES)(text)


class Distinct(argparse.Action):
    """Stores a list without duplicates."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace,
                 values: str | Sequence[Any] | None, option_string: str | None = None) -> None:
        """Refuse duplicates; argparse prints the error and exits with code 2."""
        given = list(values or ())
        if twice := sorted({str(value) for value in given if given.count(value) > 1}):
            raise argparse.ArgumentError(self, f"must not contain duplicates: {', '.join(twice)}")
        setattr(namespace, self.dest, values)
