"""samunet_accumulate_crossval_results: nothing that is missing vanishes."""

from __future__ import annotations

from pathlib import Path

import pytest
from probability_folders import PLAIN
from trained_models import DATASET, write_models

from samunet.cli.accumulate_crossval_results import main
from samunet.files import read_json, write_json


def run(root: Path, *given: str) -> int:
    return main(["900", "-v", "unet", *given, "--results", str(root / "results")])


def test_all_cases_are_merged_and_old_ones_go(tmp_path: Path) -> None:
    write_models(tmp_path, PLAIN, {"unet": 1})
    model = tmp_path / "results" / DATASET / "unet__samunetPlans__untrained"
    output = model / "crossval_results_folds_0_1"
    output.mkdir()
    (output / "old.nii.gz").write_bytes(b"of an earlier split")
    assert run(tmp_path, "-f", "0", "1") == 0
    assert {path.name for path in output.iterdir()} == {
        "a.nii.gz", "b.nii.gz", "c.nii.gz", "summary.json", "metrics.json", "plans.json", "dataset.json"}
    dice = [row["metrics"]["1"]["Dice"] for row in read_json(output / "summary.json")["metric_per_case"]]
    assert read_json(output / "summary.json")["mean"]["1"]["Dice"] == pytest.approx(sum(dice) / 3) and len(dice) == 3
    assert run(tmp_path, "-f", "0", "1", "-o", str(tmp_path / "merged")) == 0
    assert read_json(tmp_path / "merged" / "summary.json")["mean"] == read_json(output / "summary.json")["mean"]


def test_missing_folds_and_cases_are_named(tmp_path: Path, capsys) -> None:
    write_models(tmp_path, PLAIN, {"unet": 1})
    model = tmp_path / "results" / DATASET / "unet__samunetPlans__untrained"
    assert run(tmp_path) == 2
    assert "missing: 2, 3, 4; finished: 0, 1" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").touch()
    assert run(tmp_path, "-f", "0", "1", "-o", str(tmp_path / "full")) == 2
    assert "must be new or empty" in capsys.readouterr().err
    path = model / "fold_1" / "run.json"
    write_json(path, {**read_json(path), "val_cases": ["c", "a"]})
    assert run(tmp_path, "-f", "0", "1") == 2
    told = capsys.readouterr().err
    assert "missing, or of other cases: a" in told and "one fold only" in told
    assert not list(model.glob("crossval*"))
