"""The training log, read by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from samunet.training.logbook import Entry, read_log

LINE = '{"iteration": 50, "loss": 0.5, "learning_rate": 0.001, "seconds": 2.0}\n'


@pytest.mark.parametrize("bad", [
    '{"itera', "[]", "null", '{"iteration": 0, "loss": 0.5, "learning_rate": 0.001, "seconds": 2.0}',
    '{"iteration": 100}', "[" * 5000, "1" * 5000, "\x00",
])
def test_the_lines_before_one_that_cannot_be_read_count(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(LINE + bad + "\n" + LINE)
    assert read_log(path) == [Entry(50, 0.5, 0.001, 2.0)]


def test_a_loss_that_is_no_number_is_an_entry(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(LINE.replace("0.5", "NaN"))
    [entry] = read_log(tmp_path / "log.jsonl")
    assert entry.iteration == 50 and entry.loss != entry.loss
    assert read_log(tmp_path / "none.jsonl") == []
