"""Predictions on other grids, 2D files and frames are measured in the right geometry, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from segmentation_folders import PLAIN, assert_equal, folders, space, strict, write
from skimage import io

from samunet.errors import UserError
from samunet.evaluation.evaluate import evaluate_folder


def test_2d_files_are_measured_in_the_plane(tmp_path):
    reference, prediction = np.zeros((9, 9)), np.zeros((9, 9))
    reference[1, 1] = prediction[4, 5] = 1
    write(tmp_path / "gt" / "x.png", reference)
    write(tmp_path / "pred" / "x.png", prediction)
    evaluate_folder(tmp_path / "gt", tmp_path / "pred", space({"background": 0, "a": 1}), ".png", "NaturalImage2DIO",
                    None, 1)
    metrics = strict(tmp_path / "pred" / "metrics.json")["mean"]["1"]
    assert (metrics["HD95_mm"], metrics["ASSD_mm"]) == (5, 5)
    assert metrics["volume_error_ml"] is None and metrics["relative_volume_error"] == 0


def test_2d_nifti_files_of_half_a_millimetre_have_no_volume(tmp_path):
    reference, prediction = np.zeros((9, 9)), np.zeros((9, 9))
    reference[1, 1] = prediction[4, 5] = 1
    for folder, array in (("gt", reference), ("pred", prediction)):
        write(tmp_path / folder / "x.nii.gz", array, (0.5, 0.5))
    evaluate_folder(tmp_path / "gt", tmp_path / "pred", space({"background": 0, "a": 1}), ".nii.gz", "SimpleITKIO",
                    None, 1)
    metrics = strict(tmp_path / "pred" / "metrics.json")["mean"]["1"]
    assert (metrics["HD95_mm"], metrics["ASSD_mm"]) == (2.5, 2.5)
    assert metrics["volume_error_ml"] is None and metrics["relative_volume_error"] == 0


def test_shapes_that_differ_are_reported_together(tmp_path):
    reference, prediction = folders(tmp_path)
    for number in (1, 2):
        write(prediction / f"case_{number}.nii.gz", np.zeros((3, 6, 8)))
    with pytest.raises(UserError, match="must have its reference's shape") as fault:
        evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", None, 1)
    assert "2 problems" in str(fault.value) and "(3, 6, 8)" in str(fault.value) and "(3, 8, 6)" in str(fault.value)
    assert not list(prediction.glob("*.json"))


def turned(path: Path, axes: list[bool], out: Path) -> None:
    """Store `path` with flipped axes (x, y, z), its header with it."""
    out.parent.mkdir(exist_ok=True, parents=True)
    sitk.WriteImage(sitk.Flip(sitk.ReadImage(str(path)), axes), str(out))


def test_a_prediction_along_other_axes_is_turned_onto_its_reference(tmp_path, capsys):
    reference, prediction = folders(tmp_path)
    for path in prediction.iterdir():
        turned(path, [True, False, True], tmp_path / "turned" / path.name)
    labels = space(PLAIN)
    straight = evaluate_folder(reference, prediction, labels, ".nii.gz", "SimpleITKIO", None, 1)
    summary = evaluate_folder(reference, tmp_path / "turned", labels, ".nii.gz", "SimpleITKIO", None, 1)
    assert_equal(summary["mean"], straight["mean"])
    assert strict(tmp_path / "turned" / "metrics.json")["mean"] == strict(prediction / "metrics.json")["mean"]
    lines = [line for line in capsys.readouterr().err.splitlines() if "permuted or flipped" in line]
    assert len(lines) == 4
    assert str(tmp_path / "turned" / "case_0.nii.gz") in lines[0] and str(reference / "case_0.nii.gz") in lines[0]


def test_a_prediction_on_a_grid_that_no_turn_explains_is_refused(tmp_path):
    """Twice the spacing: the 8 rows of 2 mm end 7.5 of them behind the first one's middle, at 15 mm.

    In the prediction they end at 30 mm.
    """
    reference, prediction = folders(tmp_path)
    write(prediction / "case_1.nii.gz", np.zeros((3, 8, 6)), (1.0, 4.0, 5.0))
    with pytest.raises(UserError, match="its reference's spacing") as fault:
        evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", None, 1)
    assert fault.value.where == str(prediction / "case_1.nii.gz") and str(reference
                                                                          / "case_1.nii.gz") in fault.value.found
    assert fault.value.found.endswith("corners are up to 15 mm (7.5 voxels) apart")
    assert not list(prediction.glob("*.json"))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_shifted_prediction_is_warned_of_once_for_each_file(tmp_path, capfd, workers):
    reference, prediction = folders(tmp_path)
    for number in (1, 3):
        path = prediction / f"case_{number}.nii.gz"
        image = sitk.ReadImage(str(path))
        image.SetOrigin((0.5, 0.0, 0.0))
        sitk.WriteImage(image, str(path))
    for _ in range(2):
        summary = evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", None, workers)
    assert len(summary["metric_per_case"]) == 4
    warnings = sorted(line for line in capfd.readouterr().err.splitlines() if "origin or direction" in line)
    assert len(warnings) == 2 and all("0.5 mm (0.5 voxels)" in line for line in warnings)
    assert str(prediction / "case_1.nii.gz") in warnings[0] and str(prediction / "case_3.nii.gz") in warnings[1]


def frames(folder: Path, values: dict[str, int]) -> None:
    folder.mkdir(parents=True)
    for name, value in values.items():
        io.imsave(folder / f"{name}.png", np.full((4, 5), value, np.uint8), check_contrast=False)


def test_label_frames_are_one_volume(tmp_path):
    """Three frames of 20 pixels: label 1 in frames 1 and 2, predicted in 2 and 10, so one frame of each kind."""
    frames(tmp_path / "reference" / "a", {"1": 1, "2": 1, "10": 0})
    frames(tmp_path / "prediction" / "a", {"1": 0, "2": 1, "10": 1})
    (tmp_path / "prediction" / ".unfinished-b").mkdir()
    arguments = (tmp_path / "reference", tmp_path / "prediction", space({"background": 0, "a": 1}), "/",
                 "FrameFolderIO", None, 1)
    summary = evaluate_folder(*arguments)
    (case,) = summary["metric_per_case"]
    assert case["reference_file"] == str(tmp_path / "reference" / "a")
    assert [case["metrics"]["1"][key] for key in ("TP", "FP", "FN", "TN", "Dice")] == [20, 20, 20, 0, 0.5]
    assert evaluate_folder(*arguments, names=["a"]) == summary
    (tmp_path / "prediction" / "a" / "2.png").rename(tmp_path / "prediction" / "a" / "3.png")
    with pytest.raises(UserError, match="for each frame of the reference") as caught:
        evaluate_folder(*arguments)
    assert caught.value.found == "1 of 3 are missing: 2; 1 belong to none of them: 3"
