"""The table of starts, by hand."""

from __future__ import annotations


def test_the_table_by_hand(script) -> None:
    text = script("startup").markdown({"train --help": ((0.25, 0.1), (5.0, 4.0))}, (1.5, 1.25))
    assert text.splitlines()[2:] == ["| train --help | 0.25 s (0.10) | 5.00 s (4.00) | 0.03 |",
                                     "| floor: import torch | 1.50 s (1.25) | 1.50 s (1.25) | |"]


def test_the_best_of_some_calls(script) -> None:
    calls = iter([(3.0, 2.0), (2.0, 2.5), (4.0, 1.0)])
    assert script("startup").best(lambda: next(calls), 3) == (2.0, 1.0)
