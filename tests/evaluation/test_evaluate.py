"""evaluate_folder: by hand on one small case, and bad input."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from segmentation_folders import IGNORE, PLAIN, folders, space, strict, write

from samunet.cli.evaluate_folder import main
from samunet.errors import UserError
from samunet.evaluation.evaluate import evaluate_folder
from samunet.locks import owned


def test_one_case_by_hand(tmp_path):
    # Two single voxels, one slice of 5 mm apart; voxels are 5 x 2 x 1 mm = 0.01 ml.
    reference, prediction = np.zeros((4, 4, 4)), np.zeros((4, 4, 4))
    reference[1, 1, 1:3] = 1
    prediction[2, 1, 1] = 1
    prediction[0, 0, 0] = 2
    write(tmp_path / "gt" / "x.nii.gz", reference)
    write(tmp_path / "pred" / "x.nii.gz", prediction)
    summary = evaluate_folder(tmp_path / "gt", tmp_path / "pred", space({"background": 0, "a": 1, "b": 2, "c": 3}),
                              ".nii.gz", "SimpleITKIO", None, 1)
    row = summary["metric_per_case"][0]
    assert row["metrics"]["1"] == {"Dice": 0, "IoU": 0, "FP": 1, "TP": 0, "FN": 2, "TN": 61, "n_pred": 1, "n_ref": 2}
    assert row["metrics"]["2"]["Dice"] == 0 and row["metrics"]["2"]["FP"] == 1
    assert math.isnan(row["metrics"]["3"]["Dice"]) and math.isnan(summary["foreground_mean"]["Dice"])

    metrics = strict(tmp_path / "pred" / "metrics.json")
    one, two, three = (metrics["metric_per_case"][0]["metrics"][key] for key in "123")
    # From the reference's two voxels 5 and sqrt(26) mm, from the prediction's one 5 mm.
    assert one["ASSD_mm"] == pytest.approx((10 + math.sqrt(26)) / 3)
    # Surface elements lie at the corners. Those between the two slices touch the other surface or, at the reference's
    # end, are 1 mm from it; those beyond are 5 mm away, at that end sqrt(26). Both halves are equally large.
    assert one["HD95_mm"] == pytest.approx(math.sqrt(26))
    assert one["NSD"] == pytest.approx(0.5)
    assert one["volume_error_ml"] == pytest.approx(-0.01) and one["absolute_volume_error_ml"] == pytest.approx(0.01)
    assert one["relative_volume_error"] == -0.5 and one["absolute_relative_volume_error"] == 0.5
    assert two["HD95_mm"] == two["ASSD_mm"] == two["relative_volume_error"] == "Infinity" and two["NSD"] == 0
    assert two["volume_error_ml"] == pytest.approx(0.01)
    assert set(three.values()) == {None}
    assert metrics["tolerance_mm"] == 1.0
    assert metrics["mean"]["1"]["ASSD_mm"] == one["ASSD_mm"] and metrics["mean"]["2"]["ASSD_mm"] is None
    assert metrics["infinite"]["2"]["ASSD_mm"] == 1 and metrics["undefined"]["2"]["ASSD_mm"] == 0
    assert metrics["undefined"]["3"]["NSD"] == 1
    assert metrics["foreground_mean"]["ASSD_mm"] == one["ASSD_mm"]
    assert metrics["foreground_mean"]["NSD"] == pytest.approx(one["NSD"] / 2)


def test_an_ignored_voxel_is_in_no_region_with_background(tmp_path):
    """Two voxels of background, one of label 1, one ignored: the region of 0 and 1 has three."""
    write(tmp_path / "gt" / "x.nii.gz", np.array([[[0, 0, 1, 2]]]))
    write(tmp_path / "pred" / "x.nii.gz", np.array([[[0, 1, 1, 0]]]))
    labels = space({"background": 0, "rest": [0, 1], "ignore": 2}, [1])
    summary = evaluate_folder(tmp_path / "gt", tmp_path / "pred", labels, ".nii.gz", "SimpleITKIO", None, 1)
    metrics = summary["metric_per_case"][0]["metrics"]["(0, 1)"]
    assert [metrics[key] for key in ("TP", "FP", "FN", "TN", "n_pred", "n_ref", "Dice")] == [3, 0, 0, 0, 3, 3, 1]


def test_ignored_voxels_count_nowhere(tmp_path):
    reference, prediction = np.zeros((2, 6, 6)), np.zeros((2, 6, 6))
    reference[:, :3, :3] = prediction[:, :3, :3] = 1
    reference[:, :, 4:] = 2
    prediction[:, :, 4:] = 1  # wrong only in ignored voxels
    write(tmp_path / "gt" / "x.nii.gz", reference)
    write(tmp_path / "pred" / "x.nii.gz", prediction)
    summary = evaluate_folder(tmp_path / "gt", tmp_path / "pred", space({"background": 0, "a": 1, "ignore": 2}),
                              ".nii.gz", "SimpleITKIO", None, 1)
    assert summary["foreground_mean"]["Dice"] == 1 and summary["foreground_mean"]["TN"] == 48 - 18
    metrics = strict(tmp_path / "pred" / "metrics.json")["foreground_mean"]
    assert (metrics["HD95_mm"], metrics["ASSD_mm"], metrics["NSD"], metrics["volume_error_ml"]) == (0, 0, 1, 0)


def test_workers_give_the_same_files_and_only_named_cases_count(tmp_path):
    reference, prediction = folders(tmp_path)
    arguments = (reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO")
    names = ["case_3", "case_1", "case_2"]
    evaluate_folder(*arguments, tmp_path / "one.json", 1, names=names, shown_prediction_folder=Path("/final/place"))
    evaluate_folder(*arguments, tmp_path / "two.json", 2, names=names, shown_prediction_folder=Path("/final/place"))
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert (tmp_path / "one_metrics.json").read_bytes() == (tmp_path / "two_metrics.json").read_bytes()
    rows = json.loads((tmp_path / "one.json").read_text())["metric_per_case"]
    assert [row["prediction_file"] for row in rows] == [f"/final/place/case_{n}.nii.gz" for n in (1, 2, 3)]
    assert rows[0]["reference_file"] == str(reference / "case_1.nii.gz")


def test_missing_predictions_are_all_named_and_nothing_is_written(tmp_path):
    reference, prediction = folders(tmp_path)
    (prediction / "case_1.nii.gz").unlink()
    (prediction / "case_3.nii.gz").unlink()
    with pytest.raises(UserError, match=r"2 of 4 are missing: case_1\.nii\.gz, case_3\.nii\.gz"):
        evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", tmp_path / "new" / "s.json", 1)
    assert not (tmp_path / "new").exists()


def test_with_chill_missing_predictions_are_left_out_and_named(tmp_path, capsys):
    reference, prediction = folders(tmp_path)
    dataset = tmp_path / "dataset.json"
    dataset.write_text(json.dumps({"channel_names": {"0": "MR"}, "labels": PLAIN, "numTraining": 4,
                                   "file_ending": ".nii.gz"}))
    (prediction / "case_1.nii.gz").unlink()
    (prediction / "case_3.nii.gz").unlink()
    arguments = [str(reference), str(prediction), "-djfile", str(dataset), "-np", "1"]
    assert main(arguments) == 2 and "2 of 4 are missing" in capsys.readouterr().err
    assert main([*arguments, "--chill"]) == 0
    assert ("2 of 4 references have no prediction and are not evaluated: case_1.nii.gz, case_3.nii.gz"
            in capsys.readouterr().err)
    rows = json.loads((prediction / "summary.json").read_text())["metric_per_case"]
    assert [Path(row["reference_file"]).name for row in rows] == ["case_0.nii.gz", "case_2.nii.gz"]
    for path in prediction.glob("*.nii.gz"):
        path.unlink()
    assert main([*arguments, "--chill"]) == 2  # there is nothing to evaluate
    assert "At least one reference needs its prediction file." in capsys.readouterr().err


def test_extra_predictions_are_passed_over_with_a_word(tmp_path, capsys):
    reference, prediction = folders(tmp_path)
    write(prediction / "stranger.nii.gz", np.zeros((2, 2, 2)))
    summary = evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", None, 1)
    assert len(summary["metric_per_case"]) == 4
    assert "stranger.nii.gz" in capsys.readouterr().err


def test_values_that_dataset_json_does_not_list_are_refused_together(tmp_path):
    """A mask of 0 and 255 as reference in one case, as prediction in another."""
    reference, prediction = folders(tmp_path)
    mask = np.zeros((3, 8, 6))
    mask[0, 0, :5] = 255
    write(reference / "case_1.nii.gz", mask)
    write(prediction / "case_2.nii.gz", mask)
    with pytest.raises(UserError) as fault:
        evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", None, 1)
    text = str(fault.value)
    assert text.startswith("2 problems") and text.count("255 (5 voxels)") == 2
    assert "a mask of 0 and 255 to 0 and 1" in text
    assert f"where: {reference / 'case_1.nii.gz'}" in text and f"where: {prediction / 'case_2.nii.gz'}" in text
    assert not list(prediction.glob("*.json"))


def test_the_ignore_label_may_be_in_references_and_predictions(tmp_path):
    reference, prediction = folders(tmp_path, ignore=5)
    write(prediction / "case_1.nii.gz", np.full((3, 8, 6), 5))
    summary = evaluate_folder(reference, prediction, space(IGNORE), ".nii.gz", "SimpleITKIO", None, 1)
    assert summary["metric_per_case"][1]["metrics"]["1"]["n_pred"] == 0


@pytest.mark.parametrize("fault", ["no_folder", "empty", "not_json_ending", "named_but_missing"])
def test_bad_places(tmp_path, fault):
    reference, prediction = folders(tmp_path)
    output, names = tmp_path / "summary.json", None
    if fault == "no_folder":
        prediction, words = tmp_path / "nowhere", "must exist"
    elif fault == "empty":
        (tmp_path / "empty").mkdir()
        reference, words = tmp_path / "empty", "must hold segmentations"
    elif fault == "not_json_ending":
        output, words = tmp_path / "summary.txt", "end with .json"
    else:
        names, words = ["case_9"], "needs its reference"
    with pytest.raises(UserError, match=words):
        evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", output, 1, names=names)
    assert not list(tmp_path.glob("summary*"))


def test_command(tmp_path, capsys):
    reference, prediction = folders(tmp_path)
    dataset_json = tmp_path / "dataset.json"
    dataset_json.write_text(json.dumps({"labels": PLAIN, "file_ending": ".nii.gz"}))
    arguments = [str(reference), str(prediction), "-djfile", str(dataset_json), "-pfile", "plans.json", "-np", "1"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert str(prediction / "summary.json") in printed.out and str(prediction / "metrics.json") in printed.out
    (prediction / "case_2.nii.gz").unlink()
    assert main([*arguments, "-o", str(tmp_path / "other.json")]) == 2
    assert "case_2.nii.gz" in capsys.readouterr().err and not (tmp_path / "other.json").exists()
    dataset_json.write_text(json.dumps({"labels": PLAIN}))
    assert main(arguments) == 2
    assert "file_ending" in capsys.readouterr().err


def test_links_to_nothing_and_other_files_are_named(tmp_path, capsys):
    reference, prediction = folders(tmp_path, cases=2)
    (prediction / "case_0.nii").touch()
    (reference / "Case_9.NII.GZ").touch()
    (reference / "dataset.json").touch()
    evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", tmp_path / "summary.json", 1)
    assert capsys.readouterr().err.splitlines()[:2] == [
        f"Warning: ignored in {reference}: Case_9.NII.GZ (an image, but not .nii.gz)",
        f"Warning: ignored in {prediction}: case_0.nii (also there as .nii.gz)"]
    for name in ("case_0.nii.gz", "case_1.nii.gz"):
        (prediction / name).unlink()
        (prediction / name).symlink_to("nowhere")
    with pytest.raises(UserError) as caught:
        evaluate_folder(reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", tmp_path / "again.json", 1)
    assert caught.value.found == "2 links to nothing: case_0.nii.gz, case_1.nii.gz"
    assert caught.value.where == str(prediction)
    assert not (tmp_path / "again.json").exists()


def test_an_evaluation_beside_another_one_into_the_same_file_is_refused(tmp_path):
    reference, prediction = folders(tmp_path)
    arguments = (reference, prediction, space(PLAIN), ".nii.gz", "SimpleITKIO", tmp_path / "out" / "summary.json", 1)
    lock = tmp_path / "out" / ".summary.json.lock"
    with owned(lock, tmp_path / "out"), pytest.raises(UserError, match="Only one command") as caught:
        evaluate_folder(*arguments)
    assert caught.value.where == str(tmp_path / "out" / "summary.json") and not any((tmp_path / "out").iterdir())
    evaluate_folder(*arguments)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["metrics.json", "summary.json"]
