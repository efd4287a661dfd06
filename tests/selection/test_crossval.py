"""Folds joined: by hand, and as nnU-Net joins them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from probability_folders import nnunet_in_threads

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.evaluation.evaluate import evaluate_folder
from samunet.files import write_json
from samunet.selection.crossval import accumulate

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
FOLDS = {"0": ("c", "a"), "1": ("b",)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two folds, validated; case `b` has no class 2 on either side."""
    random = np.random.default_rng(0)
    model = tmp_path / "results" / "Dataset005_Made" / "samunet__plans__2d"
    for fold, names in FOLDS.items():
        folder = model / f"fold_{fold}" / "validation"
        for name in names:
            values = random.integers(0, 2 if name == "b" else 3, (2, 4, 5, 6)).astype(np.uint8)
            for path, volume in zip((tmp_path / "gt" / f"{name}.nii.gz", folder / f"{name}.nii.gz"), values,
                                    strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                sitk.WriteImage(sitk.GetImageFromArray(volume), str(path))
        evaluate_folder(tmp_path / "gt", folder, LABELS, ".nii.gz", "SimpleITKIO", None, 1, names=names)
    write_json(model / "plans.json", {"made": 1})
    write_json(model / "dataset.json", {"labels": LABELS.names, "file_ending": ".nii.gz"})
    return model


def test_all_cases_stand_in_one_folder_with_means_over_cases(model: Path) -> None:
    output = accumulate(model, ["0", "1"], ".nii.gz")
    assert output.name == "crossval_results_folds_0_1"
    assert {path.name for path in output.iterdir()} == {
        "a.nii.gz", "b.nii.gz", "c.nii.gz", "summary.json", "metrics.json", "plans.json", "dataset.json"}
    summary = json.loads((output / "summary.json").read_text())
    assert [Path(row["prediction_file"]) for row in summary["metric_per_case"]] == [output / f"{n}.nii.gz"
                                                                                    for n in "abc"]
    dice = [row["metrics"]["1"]["Dice"] for row in summary["metric_per_case"]]
    assert summary["mean"]["1"]["Dice"] == pytest.approx(np.mean(dice)) and len(dice) == 3
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["undefined"]["2"]["HD95_mm"] == 1 and metrics["undefined"]["1"]["HD95_mm"] == 0
    assert metrics["metric_per_case"][1]["metrics"]["2"]["HD95_mm"] is None


def test_the_spacing_of_a_3d_tiff_stays_beside_it(model: Path) -> None:
    for name in FOLDS["0"]:
        folder = model / "fold_0" / "validation"
        (folder / f"{name}.tif").write_bytes(b"a volume")
        write_json(folder / f"{name}.json", {"spacing": [5.0, 2.0, 2.0]})
    output = accumulate(model, ["0"], ".tif")
    assert {path.name for path in output.iterdir()} >= {"a.tif", "a.json", "c.tif", "c.json"}
    assert json.loads((output / "a.json").read_text()) == {"spacing": [5.0, 2.0, 2.0]}


@pytest.mark.parametrize(("name", "damage", "field"), [
    ("summary.json", lambda content: [], "got `array`"),
    ("summary.json", lambda content: {}, "no `metric_per_case`"),
    ("summary.json", lambda content: {"metric_per_case": {}}, "$.metric_per_case"),
    ("summary.json", lambda content: {"metric_per_case": []}, "0 cases"),
    ("summary.json", lambda content: {"metric_per_case": [{"metrics": {}}]}, "reference_file"),
    ("summary.json",
     lambda content: {"metric_per_case": [*content["metric_per_case"],
                                          {**content["metric_per_case"][0], "metrics": {"1": {"Dice": 1}}}]},
     "3 cases, 2 forms"),
    ("summary.json", lambda content: {"metric_per_case": [{**row, "metrics": {"1": {"Dice": None}}}
                                                          for row in content["metric_per_case"]]}, "got `null`"),
    ("metrics.json", lambda content: {**content, "tolerance_mm": "1"}, "$.tolerance_mm"),
    ("metrics.json", lambda content: {**content, "metric_per_case": [{**row, "metrics": {"1": {"NSD": "Infinite"}}}
                                                                     for row in content["metric_per_case"]]},
     "'Infinite'"),
    ("metrics.json", lambda content: {**content, "metric_per_case": content["metric_per_case"][:1]}, "c.nii.gz"),
])
def test_damaged_scores_are_reported_and_nothing_is_written(model: Path, name: str, damage, field: str) -> None:
    path = model / "fold_0" / "validation" / name
    path.write_text(json.dumps(damage(json.loads(path.read_text()))))
    with pytest.raises(UserError) as caught:
        accumulate(model, ["0", "1"], ".nii.gz")
    assert field in str(caught.value)
    assert not (model / "crossval_results_folds_0_1").exists()


def test_a_case_of_two_folds_is_refused(model: Path) -> None:
    with pytest.raises(UserError, match="one fold only"):
        accumulate(model, ["0", "0"], ".nii.gz")
    assert not (model / "crossval_results_folds_0_0").exists()


@pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="needs nnU-Net")
def test_equal_to_nnunets_evaluation_of_all_cases(model: Path, tmp_path: Path, monkeypatch) -> None:
    nnunet_in_threads(monkeypatch, "nnunetv2.evaluation.evaluate_predictions")
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    output = accumulate(model, ["0", "1"], ".nii.gz")
    theirs = tmp_path / "theirs.json"
    compute_metrics_on_folder(str(tmp_path / "gt"), str(output), str(theirs), SimpleITKIO(), ".nii.gz", [1, 2], None, 1)
    ours, other = (json.loads(path.read_text()) for path in (output / "summary.json", theirs))
    for key in ("mean", "foreground_mean"):
        assert json.dumps(ours[key], sort_keys=True) == json.dumps(other[key], sort_keys=True)
    assert ours["metric_per_case"][0]["metrics"] == other["metric_per_case"][0]["metrics"]
