"""Files and functions stay short enough to read: ruff's rules in pyproject.toml check the rest."""

from __future__ import annotations

import ast
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "samunet"
FILES = sorted(PACKAGE.rglob("*.py"))
FILE_LINES = 300
MEDIAN_LINES = 100
FUNCTION_LINES = 60


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _long_functions(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{node.name}: {lines} lines"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_file_and_no_function_is_too_long(path: Path) -> None:
    found = list(_long_functions(path.read_text(encoding="utf-8")))
    if _lines(path) > FILE_LINES:
        found.append(f"file: {_lines(path)} lines")
    assert not found


def test_half_of_the_files_have_at_most_100_lines() -> None:
    assert statistics.median(map(_lines, FILES)) <= MEDIAN_LINES


def test_a_function_of_61_lines_is_found() -> None:
    body = "    pass\n"
    assert list(_long_functions("def short():\n" + body * 59)) == []
    assert list(_long_functions("def long():\n" + body * 60)) == ["long: 61 lines"]
