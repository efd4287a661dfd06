"""The table of starts, by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture
def startup(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("startup")


def test_the_table_by_hand(startup: ModuleType) -> None:
    text = startup.markdown({"train --help": ((0.25, 0.1), (5.0, 4.0))}, (1.5, 1.25))
    assert text.splitlines()[2:] == ["| train --help | 0.25 s (0.10) | 5.00 s (4.00) | 0.03 |",
                                     "| floor: import torch | 1.50 s (1.25) | 1.50 s (1.25) | |"]


def test_the_best_of_some_calls(startup: ModuleType) -> None:
    calls = iter([(3.0, 2.0), (2.0, 2.5), (4.0, 1.0)])
    assert startup.best(lambda: next(calls), 3) == (2.0, 1.0)
