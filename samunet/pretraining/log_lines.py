"""The lines of a pretraining run's log."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

from samunet.files import read_json_lines


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines up to the first invalid one; a valid line is an object with its step. Nothing depends on a log."""
    return list(takewhile(lambda line: isinstance(line, dict) and isinstance(line.get("step"), int),
                          read_json_lines(path)))
