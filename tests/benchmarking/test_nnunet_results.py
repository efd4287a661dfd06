"""A folder that nnU-Net left, made by hand: scores measured or read, and what is refused."""

from __future__ import annotations

import csv
import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.benchmarking.benchmark import run_benchmark
from samunet.benchmarking.jobs import Benchmark
from samunet.benchmarking.nnunet_results import import_results
from samunet.benchmarking.results import Result
from samunet.dataset.dataset import load_dataset
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import make_folder, read_json, write_json

ASKED = Benchmark("5", ("label_prior",), ("0",), (None,), 1, "untrained", "tiny", "cpu")
NAME = "nnUNetTrainer__nnUNetPlans__2d"
TOLD = {"Dice": 0.25, "IoU": 1 / 7, "FN": 0, "FP": 0, "TN": 0, "TP": 0, "n_pred": 0, "n_ref": 0}


def write_told(model: Path, names: str, classes: str = "12") -> None:
    """A summary.json as nnU-Net on another machine would have left it, with a Dice of 0.25 everywhere."""
    rows = [{"metrics": {key: TOLD for key in classes}, "prediction_file": f"C:\\results\\{name}.nii.gz",
             "reference_file": f"C:\\preprocessed\\gt_segmentations\\{name}.nii.gz"} for name in names]
    write_json(model / "fold_0" / "validation" / "summary.json", {"metric_per_case": rows})


@pytest.fixture
def model(paths: Paths, tmp_path: Path) -> Path:
    """Fold 0, validated on d, e and f: their own labels, moved by one voxel along x."""
    model = tmp_path / "nnUNet_results" / "Dataset005_Made" / NAME
    folder = make_folder(model / "fold_0" / "validation")
    for name in "def":
        label = sitk.ReadImage(str(paths.raw / "Dataset005_Made" / "labelsTr" / f"{name}.nii.gz"))
        moved = sitk.GetImageFromArray(np.roll(sitk.GetArrayFromImage(label), 1, axis=2))
        moved.CopyInformation(label)
        sitk.WriteImage(moved, str(folder / f"{name}.nii.gz"))
    write_told(model, "def")
    return model


def imported(model: Path, paths: Paths) -> Result:
    [found] = import_results([model], ASKED, load_dataset(paths.raw / "Dataset005_Made"), paths)
    return found


def test_segmentations_that_are_there_are_measured_in_mm(model: Path, paths: Paths) -> None:
    before = {path: path.read_bytes() for path in model.rglob("*") if path.is_file()}
    found = imported(model, paths)
    assert (found.method, found.shots, list(found.cases), sorted(found.cases[0])) == (NAME, None, [0], ["d", "e", "f"])
    # Case d: class 1 is ten voxels wide, class 2 seven; all but one column overlap. Voxels are cubes of 1 mm.
    assert found.cases[0]["d"]["1"]["Dice"] == pytest.approx(9 / 10)
    assert found.cases[0]["d"]["2"]["Dice"] == pytest.approx(6 / 7)
    scores = found.cases[0]["d"]["1"]
    assert scores["HD95_mm"] == pytest.approx(1.0) and scores["NSD"] == pytest.approx(1.0)
    assert found.segmentations == {0: dict.fromkeys("def", model / "fold_0" / "validation")}
    assert len(found.missing) == 1 and str(model) in found.missing[0]
    assert {path: path.read_bytes() for path in model.rglob("*") if path.is_file()} == before


def test_without_all_segmentations_the_summary_is_read_as_it_is(model: Path, paths: Paths) -> None:
    (model / "fold_0" / "validation" / "e.nii.gz").unlink()
    found = imported(model, paths)
    assert found.scores(0, "Dice") == {"d": 0.25, "e": 0.25, "f": 0.25}
    assert all(math.isnan(value) for value in found.scores(0, "HD95_mm").values())
    assert found.segmentations == {0: {}}
    assert found.missing[1] == ("Dice and IoU are from its summary.json, other metrics are unknown: "
                                "no segmentations of e")


def test_other_cases_are_refused_by_name_before_anything_runs(model: Path, paths: Paths) -> None:
    write_told(model, "aef")
    with pytest.raises(UserError) as caught:
        run_benchmark(ASKED, paths, workers=None, scheduler=None, reference=None, command="", nnunet_results=[model])
    assert "cases of the benchmark's fold" in caught.value.rule
    assert caught.value.found == "also validated: a; not validated: d"
    assert caught.value.where == str(model / "fold_0" / "validation" / "summary.json") and not paths.results.exists()


def test_other_classes_are_refused(model: Path, paths: Paths) -> None:
    write_told(model, "def", classes="1")
    with pytest.raises(UserError) as caught:
        imported(model, paths)
    assert caught.value.found == "1; the dataset has 1, 2"


def test_what_is_no_trained_models_folder_is_refused(model: Path, paths: Paths) -> None:
    with pytest.raises(UserError, match="must have fold_<F>/validation/summary.json"):
        imported(model.parent, paths)
    write_json(model / "fold_0" / "validation" / "summary.json", {"results": {}})
    with pytest.raises(UserError, match="nnU-Net v2"):
        imported(model, paths)
    with pytest.raises(UserError, match="unique names"):
        import_results([model, model], ASKED, load_dataset(paths.raw / "Dataset005_Made"), paths)


@pytest.mark.skipif(importlib.util.find_spec("jinja2") is None, reason="needs jinja2")
def test_it_is_a_row_and_a_method_of_the_report(model: Path, paths: Paths, here: None) -> None:
    folder = run_benchmark(ASKED, paths, workers=None, scheduler=None, reference=NAME, command="",
                           nnunet_results=[model])
    rows = read_json(folder / "summary.json")
    assert [(row["method"], row["shots"]) for row in rows] == [("label_prior", "all"), (NAME, "all")]
    assert "difference" in rows[0] and "training s" not in rows[1] and "imported from" in rows[1]["why"]
    lines = [line for line in csv.DictReader((folder / "cases.csv").open()) if line["method"] == NAME]
    assert [(line["case"], line["class"]) for line in lines] == [(name, key) for name in "def" for key in "12"]
    assert float(lines[0]["Dice"]) == pytest.approx(9 / 10)
    page = (folder / "report.html").read_text()
    assert f"Dice of {NAME}" in page and f"<h3>{NAME}, all labelled cases</h3>" in page


@pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="needs nnU-Net")
def test_nnunets_own_summary_gives_the_same_dice_read_or_measured(model: Path, paths: Paths) -> None:
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    folder = model / "fold_0" / "validation"
    references = str(paths.preprocessed / "Dataset005_Made" / "gt_segmentations")
    compute_metrics_on_folder(references, str(folder), str(folder / "summary.json"), SimpleITKIO(), ".nii.gz", [1, 2],
                              None, 1,
                              chill=True)
    measured = imported(model, paths)
    for name in "def":
        (folder / f"{name}.nii.gz").unlink()
    read = imported(model, paths)
    assert sorted(read.cases[0]) == ["d", "e", "f"]
    for name, classes in read.cases[0].items():
        for key, values in classes.items():
            assert {metric: measured.cases[0][name][key][metric] for metric in values} == values
    assert json.loads((folder / "summary.json").read_text())["mean"]["1"]["Dice"] == pytest.approx(
        np.mean([values["1"]["Dice"] for values in read.cases[0].values()]))
