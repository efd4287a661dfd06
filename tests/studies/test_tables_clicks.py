"""The tables of clicks, from records by hand."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def tables(script, monkeypatch, tmp_path):
    module = script("tables_clicks")
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    monkeypatch.setitem(module.records.__globals__, "RESULTS", tmp_path)
    return module, tmp_path


def test_before_the_first_record_a_table_says_so(tables) -> None:
    module, _ = tables
    assert {table() for table in module.TABLES.values()} == {"Not measured yet."}


def test_one_click_by_hand(tables) -> None:
    module, folder = tables
    ahead = {"mean": 0.25, "low": 0.1, "high": 0.4}
    rows = {"3d_promptable": {"oracle": True, "score": 0.75, "empty": "2 of 2", "training_seconds": 60.4},
            "grown region": {"oracle": True, "score": 0.5, "empty": "2 of 2"},
            "unet": {"score": 0.5, "empty": "0 of 2", "training_seconds": 61.0, "one_click_ahead": ahead}}
    record = {"commit": "a", "judged": "3d_promptable", "rows": rows, "met": {"x": True, "y": False},
              "negative": {"clicks": 10, "removed": 9, "nothing_else": 8, "both": 7}}
    (folder / "one_click.jsonl").write_text(json.dumps(record) + "\n")
    assert module.one_click().splitlines()[2:] == [
        "| `3d_promptable` | one click (oracle) | 0.750 |  | 2 of 2 | 60 |",
        "| grown region | one click (oracle) | 0.500 |  | 2 of 2 |  |",
        "| `unet` | none | 0.500 | +0.250 [+0.100, +0.400] | 0 of 2 | 61 |"]
    assert module.negative_clicks().splitlines()[2] == "| 10 | 9 | 8 | 7 |"
    assert module.one_click_marks().splitlines()[2:] == ["| x | holds |", "| y | missed |"]


def test_real_images_by_hand_from_the_youngest_record_of_each_dataset(tables) -> None:
    module, folder = tables
    ahead = {clicks: {"mean": 0.1, "low": 0.0, "high": 0.2} for clicks in ("1", "3", "5")}
    rows = {"3d_promptable, 5 cases": {"dice": [0, 0.1, 0.2, 0.3, 0.4, 0.5], "NSD_area": 2.5, "rises": True},
            "sam_zeroshot": {"dice": [0, 0, 0, 0, 0, 0.1], "NSD_area": 1, "rises": False, "first_ahead": ahead}}
    old = {"commit": "a", "dataset": "Dataset004_Hippocampus", "rows": {}}
    lines = [old, {**old, "rows": rows}, {**old, "dataset": "Dataset027_ACDC", "rows": dict(list(rows.items())[:1])}]
    (folder / "clicks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert module.clicks_hippocampus().splitlines()[2:] == [
        "| `3d_promptable`, 5 cases | 0.100 | 0.300 | 0.500 | 2.500 | yes |  |  |  |",
        "| `sam_zeroshot` | 0.000 | 0.000 | 0.100 | 1.000 | no" + " | +0.100 [+0.000, +0.200]" * 3 + " |"]
    assert len(module.clicks_acdc().splitlines()) == 3
