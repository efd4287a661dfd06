"""What is printed, and how often."""

from __future__ import annotations

import io
import sys

import pytest

from samunet import console


def test_a_result_that_stdout_cannot_show_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with LANG=C, or with a folder whose name is not UTF-8."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    console.result("/ä/c\udcff")
    assert stream.buffer.getvalue() == b"/\\xe4/c\\udcff\n"


def test_a_line_is_said_once_in_a_process(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_said", set())
    for message in ("one", "two", "one"):
        console.say_once(message)
    assert capsys.readouterr().err == "one\ntwo\n"
