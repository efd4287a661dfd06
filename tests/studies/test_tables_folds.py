"""Tables of the five folds from lines by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def line(fold: str, scores: dict[str, float], row: str = "hybrid_off", shots: int | None = 5,
         dataset: str = "Dataset027_ACDC") -> dict:
    """A job whose case `name` has the Dice `score` in the one class 1."""
    return {"commit": "abcdef0123", "core_hours": 0.25, "iterations": 300 + int(fold),
            "key": {"dataset": dataset, "encoder": "mini-3", "row": row, "shots": shots, "minutes": 3.0, "fold": fold,
                    "draw": 0},
            "cases": {case: {"1": {"Dice": score, "ASSD_mm": 1.0, "HD95_mm": 2.0}} for case, score in scores.items()}}


@pytest.fixture
def tables(script: Callable[[str], ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = script("tables_folds")
    lines = [line(fold, {f"patient00{fold}_frame01": 0.5, f"patient00{fold}_frame02": 0.7}) for fold in "01234"]
    lines += [line("3", {"patient003_frame01": 0.25}, "unet"), line("0", {"patient000_frame01": 0.9}, shots=None)]
    lines += [line("0", {"a": 0.8}, dataset="Dataset004_Hippocampus") | {"patients": {"a": "7"}}]
    (tmp_path / "five_folds.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    monkeypatch.setitem(module.records.__globals__, "RESULTS", tmp_path)
    return module


def cells(table: str, row: str) -> list[str]:
    [found] = [text for text in table.splitlines() if text.startswith(f"| {row} |")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_short_table_is_the_mean_over_all_folds_and_names_those_that_are_missing(tables: ModuleType) -> None:
    table = tables.five_folds_short()
    assert table.splitlines()[0] == ("| variant | hippocampus, 5 cases | iterations | ACDC, 5 cases | iterations | "
                                     "ACDC, all cases | iterations |")
    # Each patient's mean is 0.6, so its interval over patients has no width.
    assert cells(table, "`hybrid --transport off`") == [
        "`hybrid --transport off`", "0.800 [0.800, 0.800] (fold 0)", "300", "0.600 [0.600, 0.600]",
        "300 to 304", "0.900 [0.900, 0.900] (fold 0)", "300"]
    assert cells(table, "`unet`")[3:5] == ["0.250 [0.250, 0.250] (fold 3)", "303"]
    assert cells(table, "`atlas`") == ["`atlas`"] + [""] * 6


def test_each_fold_has_its_column(tables: ModuleType) -> None:
    table = tables.five_folds_each()
    assert ("| ACDC | 5 | `hybrid --transport off` | 3.0 | 300 to 304 | 0.600 | 0.600 | 0.600 | 0.600 | 0.600 "
            "| 1.25 | `abcdef0` |") in table
    assert "| ACDC | 5 | `unet` | 3.0 | 303 |  |  |  | 0.250 |  | 0.25 | `abcdef0` |" in table


def test_differences_are_paired_over_the_cases_that_both_have(tables: ModuleType, tmp_path: Path) -> None:
    """The atlas has one case of each of two folds, 0.1 below and 0.3 below."""
    lines = [line(fold, {f"patient00{fold}_frame01": score}, "atlas") for fold, score in (("0", 0.4), ("1", 0.2))]
    with (tmp_path / "five_folds.jsonl").open("a") as stream:
        stream.writelines(json.dumps(each) + "\n" for each in lines)
    [row] = [text for text in tables.differences().splitlines() if "atlas" in text]
    assert row.startswith("| ACDC | `hybrid --transport off` | `atlas` | 2 | +0.200 [")
