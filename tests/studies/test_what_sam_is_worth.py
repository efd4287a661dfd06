"""The table by hand, and that no finished job is run again."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def study(script) -> ModuleType:
    return script("what_sam_is_worth")


def records(study, rows: dict[str, dict[tuple[int, str], dict[str, float]]]) -> dict:
    return {study.Key("D", "e", row, 5, 3.0 if study.ROWS[row].trains else None, fold, draw):
            {"dice": dice, "core_hours": 0.25}
            for row, jobs in rows.items() for (draw, fold), dice in jobs.items()}


def test_folds_are_joined_draws_weigh_alike_and_what_both_have_is_paired(study) -> None:
    made = records(study, {
        "off_none": {(0, "1"): {"a": 0.5, "b": 0.5}, (0, "2"): {"c": 0.2}, (1, "1"): {"a": 0.4, "b": 0.4}},
        "off_free": {(0, "1"): {"a": 0.6, "b": 0.6}, (0, "2"): {"c": 0.3}},
        "label_prior": {(0, "1"): {"a": 0.1, "b": 0.1}}})
    text = study.tables(made, "off_none", None)
    # (0.5 + 0.5 + 0.2) / 3 = 0.4 of draw 0, 0.4 of draw 1; (0.6 + 0.6 + 0.3) / 3 = 0.5.
    assert "| `off_none` | 0.400 |  | 3 |" in text
    assert "| `off_free` | 0.500 | +0.100 [+0.100, +0.100] | 2 |" in text
    # What trains nothing is in the tables of all minutes, and paired on fold 1 of draw 0 alone.
    assert "| `label_prior` | 0.100 | -0.400 [-0.400, -0.400] | 1 |" in text
    assert "5 case(s), 3 minutes" in text and text.endswith("1.50 core-hours in 6 jobs")


def test_rows_that_train_nothing_have_one_job_for_all_minutes(study) -> None:
    options = argparse.Namespace(draws=[0], shots=[1, 5], minutes=[3.0, 10.0], folds=["1"], rows=["atlas", "off_free"])
    keys = list(study.wanted(options, "D", "e"))
    assert len({key for key in keys if key.row == "atlas"}) == 2
    assert len({key for key in keys if key.row == "off_free"}) == 4


def test_lines_of_earlier_sittings_are_read_and_the_last_counts(study, tmp_path: Path) -> None:
    path, key = tmp_path / "lines.jsonl", study.Key("D", "e", "atlas", 5, None, "1", 0)
    assert study.stored(path) == {}
    path.write_text("".join(json.dumps({"key": vars(key), "dice": {"a": dice}}) + "\n" for dice in (0.1, 0.2)))
    assert {each: record["dice"] for each, record in study.stored(path).items()} == {key: {"a": 0.2}}
