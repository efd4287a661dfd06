"""Regions and the ignore label train, predict and evaluate like any other labels."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk


def _read(path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def _main_job(workplace, dataset, iterations: int) -> dict:
    """Plan to evaluation over the training cases; returns summary.json."""
    images, labels = dataset / "imagesTr", dataset / "labelsTr"
    out = workplace.root / "out"
    for command, arguments in (
        ("plan_and_preprocess", ["-d", "5", "--verify_dataset_integrity", "-np", "1"]),
        ("train", ["5", "cnn_head", "0", "--iterations", str(iterations), "-np", "1", "-device", "cpu"]),
        ("predict", ["-i", images, "-o", out, "-device", "cpu"]),
        ("evaluate_folder", [labels, out, "-djfile", dataset / "dataset.json", "-np", "1"]),
    ):
        done = workplace.here(command, *arguments)
        assert done.code == 0, done.err
    return json.loads((out / "summary.json").read_text())


@pytest.mark.slow
def test_overlapping_regions(workplace, make_dataset):
    dataset = make_dataset(workplace.root / "raw", labels={"background": 0, "both": [1, 2], "right": [2]},
                           regions_class_order=[1, 2])
    summary = _main_job(workplace, dataset, 60)
    assert set(summary["mean"]) == {"(1, 2)", "2"} or set(summary["mean"]) == {"(1, 2)", "(2,)"}
    for values in summary["mean"].values():
        assert values["Dice"] > 0.6
    predicted = np.concatenate([_read(path).ravel() for path in (workplace.root / "out").glob("*.nii.gz")])
    assert set(np.unique(predicted)) == {0, 1, 2}
    # The region of 1 and 2 is counted over both values, by hand:
    case = summary["metric_per_case"][0]
    reference = np.isin(_read(case["reference_file"]), (1, 2))
    both = np.isin(_read(case["prediction_file"]), (1, 2))
    expected = 2 * (reference & both).sum() / (reference.sum() + both.sum())
    assert case["metrics"]["(1, 2)"]["Dice"] == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
def test_ignored_voxels_never_count(workplace, make_dataset):
    """Half of each volume is labelled wrongly in one dataset and ignored in the other: only the first learns it."""
    dataset = make_dataset(workplace.root / "raw", labels={"background": 0, "left": 1, "right": 2, "ignore": 3})
    for path in (dataset / "labelsTr").iterdir():
        image = sitk.ReadImage(str(path))
        array = sitk.GetArrayFromImage(image)
        array[:, :, :4] = 3
        array[4] = 3
        ignored = sitk.GetImageFromArray(array)
        ignored.CopyInformation(image)
        sitk.WriteImage(ignored, str(path))
    summary = _main_job(workplace, dataset, 60)
    assert set(summary["mean"]) == {"1", "2"}
    for values in summary["mean"].values():
        assert values["Dice"] > 0.6
    for case in summary["metric_per_case"]:
        predicted, reference = _read(case["prediction_file"]), _read(case["reference_file"])
        assert predicted.max() <= 2, "the ignore label is never predicted"
        counted = reference != 3
        assert case["metrics"]["1"]["TP"] == int(((predicted == 1) & (reference == 1)).sum())
        assert case["metrics"]["1"]["FP"] == int(((predicted == 1) & (reference != 1) & counted).sum())
        assert sum(case["metrics"]["1"][key] for key in ("TP", "FP", "FN", "TN")) == int(counted.sum())


def test_baselines_know_regions_and_the_ignore_label(workplace, make_dataset):
    dataset = make_dataset(workplace.root / "raw", labels={"background": 0, "both": [1, 2], "right": [2], "ignore": 3},
                           regions_class_order=[1, 2])
    shutil.copytree(dataset / "imagesTr", dataset / "imagesTs")
    for command, arguments in (
        ("plan_and_preprocess", ["-d", "5", "--no_embeddings", "-np", "1"]),
        ("train", ["5", "label_prior", "all", "-np", "1"]),
        ("predict", ["-i", dataset / "imagesTs", "-o", workplace.root / "out"]),
    ):
        done = workplace.here(command, *arguments)
        assert done.code == 0, done.err
    predicted = _read(workplace.root / "out" / "box_000.nii.gz")
    reference = _read(dataset / "labelsTr" / "box_000.nii.gz")
    both, expected = np.isin(predicted, (1, 2)), np.isin(reference, (1, 2))
    assert 2 * (both & expected).sum() / (both.sum() + expected.sum()) > 0.5
