"""The pretraining log, read by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from samunet.pretraining.log_lines import read_lines


@pytest.mark.parametrize("bad", ['{"st', "[]", '{"step": "2"}', '{"loss": 1}', "[" * 5000])
def test_the_lines_before_one_that_cannot_be_read_count(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "threads": 2}\n' + bad + '\n{"step": 3}\n')
    assert read_lines(path) == [{"step": 1, "threads": 2}]
    assert read_lines(tmp_path / "none.jsonl") == []
