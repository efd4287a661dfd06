"""The pretraining log and the scalars of a state, read by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from samunet.errors import UserError
from samunet.pretraining.log_lines import read_lines
from samunet.pretraining.state import read_scalars


@pytest.mark.parametrize("bad", ['{"st', "[]", '{"step": "2"}', '{"loss": 1}', "[" * 5000])
def test_the_lines_before_one_that_cannot_be_read_count(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "threads": 2}\n' + bad + '\n{"step": 3}\n')
    assert read_lines(path) == [{"step": 1, "threads": 2}]
    assert read_lines(tmp_path / "none.jsonl") == []


@pytest.mark.parametrize(("text", "told"), [
    ("{", "Expecting property name"), ("[" * 5000, "recursion"), ("null", "got `null`"), ("[]", "got `array`"),
    ("{}", "no `step`"),
    ('{"step": -1, "seconds": 1, "recipe": {}}', "$.step"), ('{"step": 1, "seconds": NaN, "recipe": {}}', "$.seconds"),
    ('{"step": 1, "seconds": 1, "recipe": []}', "$.recipe"),
])
def test_scalars_of_another_form_are_reported(text: str, told: str) -> None:
    with pytest.raises(UserError, match="must be valid") as caught:
        read_scalars({"pretraining": text}, Path("state.safetensors"), "Remove it.")
    assert told in caught.value.found and (caught.value.where, caught.value.mend) == ("state.safetensors", "Remove it.")
    sound = '{"step": 1, "seconds": 1.5, "recipe": {"phases": "64:1:1:all"}}'
    assert read_scalars({"pretraining": sound}, Path(), "")["step"] == 1
