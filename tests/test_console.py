"""What is printed, and how often."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest

from samunet import console


def test_a_result_that_stdout_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with LANG=C, or with a folder whose name is not UTF-8."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    console.result("/ä/c\udcff")
    assert stream.buffer.getvalue() == b"/\\xe4/c\\udcff\n"


@pytest.mark.parametrize(("kind", "shown"), [
    ("bar", "work: 2/25\nwork: 4/25\n"),  # every tenth
    ("cases", "work: 1/25 case_0\nwork: 2/25 case_1\nwork: 3/25 case_2\nwork: 4/25 case_3\n"),
    ("none", ""),
])
def test_progress_is_lines_by_tenths_or_by_cases_or_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, kind, shown: str
) -> None:
    monkeypatch.setattr(console, "_progress", "bar")  # restored after the test
    console.show_progress(kind)
    for named in (lambda number: f"case_{number}", lambda number: (f"case_{number}", number),
                  lambda number: (SimpleNamespace(name=f"case_{number}"), None)):
        items = [named(number) for number in range(4)]
        assert list(console.progress(items, "work", 25)) == items
        assert capsys.readouterr().err == shown


def test_a_line_is_said_once_in_a_process(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_said", set())
    for message in ("one", "two", "one"):
        console.say_once(message)
    assert capsys.readouterr().err == "one\ntwo\n"
