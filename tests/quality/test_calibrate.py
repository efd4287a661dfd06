"""samunet_calibrate, and what samunet_predict makes of it: equal features at both times, and unchanged labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samunet.cli import calibrate, predict
from samunet.dataset.labels import LabelSpace
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json, write_json
from samunet.quality.calibrate import calibrated
from samunet.quality.calibration_file import Calibration, usable_calibration, write_calibration
from samunet.quality.cross_validation import MeasuredCase, measured_cases, validation_cases
from samunet.quality.temperature import Voxels

NAMES = "abcdef"


def calibrate_it(model: Path, paths: Paths, *arguments: str) -> int:
    return calibrate.main(["-m", str(model), "--preprocessed", str(paths.preprocessed), "-device", "cpu", *arguments])


def predict_it(model: Path, paths: Paths, output: Path, *arguments: str) -> int:
    return predict.main(["-i", str(paths.raw / "Dataset005_Made" / "imagesTr"), "-o", str(output), "-m", str(model),
                         "-device", "cpu", *arguments])


def predicted(output: Path) -> dict[str, float]:
    return {row["case"]: row["predicted_dice"] for row in read_json(output / "quality.json")["cases"]}


def measured(model: Path, paths: Paths) -> dict[str, MeasuredCase]:
    found = measured_cases(model, validation_cases(model), paths.preprocessed / "Dataset005_Made", torch.device("cpu"),
                           None, mirrored=False)
    return {case.name: case for case in found}


def test_the_real_dice_is_that_of_the_folds_own_summary(model: Path, trained: Paths) -> None:
    found = measured(model, trained)
    assert {name: case.fold for name, case in found.items()} == {name: "0" if name in "def" else "1" for name in NAMES}
    for fold in ("0", "1"):
        for row in read_json(model / f"fold_{fold}" / "validation" / "summary.json")["metric_per_case"]:
            case = found[Path(row["reference_file"]).name[0]]
            assert case.dice == {key: values["Dice"] for key, values in row["metrics"].items()}
    assert len({case.dice["1"] for case in found.values()}) > 3  # they differ, so there is something to predict


def test_a_prediction_has_the_features_of_cross_validation_and_unchanged_labels(
    model: Path, trained: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict_it(model, trained, tmp_path / "before", "-f", "0") == 0
    assert calibrate_it(model, trained) == 0
    assert predict_it(model, trained, tmp_path / "out", "-f", "0") == 0
    calibration = usable_calibration(model, ["0"], "plain")
    table = read_json(tmp_path / "out" / "quality.json")
    assert calibration is not None and table["calibration"] == calibration.digest
    rows = {row["case"]: row for row in table["cases"]}
    for name, case in measured(model, trained).items():
        if case.fold == "0":
            big, small = (calibration.classes[key].predict(case.features[key]) for key in "12")
            assert rows[name]["classes"] == pytest.approx({"big": big, "small": small}, abs=1e-6)
            assert rows[name]["predicted_dice"] == pytest.approx((big + small) / 2, abs=1e-6)
    dice = [row["predicted_dice"] for row in table["cases"]]
    assert sorted(rows) == list(NAMES) and dice == sorted(dice)
    assert f"{table['cases'][0]['case']}: predicted Dice {dice[0]:.2f} (big" in capsys.readouterr().err
    for name in NAMES:
        file = f"{name}.nii.gz"
        assert (tmp_path / "before" / file).read_bytes() == (tmp_path / "out" / file).read_bytes()


def test_folds_are_averaged_and_parts_share_the_table(model: Path, trained: Paths, tmp_path: Path) -> None:
    assert calibrate_it(model, trained) == 0
    tables = []
    for fold in ("0", "1"):
        assert predict_it(model, trained, tmp_path / fold, "-f", fold) == 0
        tables.append(predicted(tmp_path / fold))
    for part in ("0", "1"):
        assert predict_it(model, trained, tmp_path / "both", "-num_parts", "2", "-part_id", part) == 0
    expected = {name: (tables[0][name] + tables[1][name]) / 2 for name in NAMES}
    assert predicted(tmp_path / "both") == pytest.approx(expected)
    assert not list((tmp_path / "both").glob(".*"))  # no lock is left


def test_a_table_that_is_broken_or_out_of_date_is_not_used(
    model: Path, trained: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate_it(model, trained) == 0
    assert predict_it(model, trained, tmp_path / "out") == 0
    table = tmp_path / "out" / "quality.json"
    write_json(table, read_json(table) | {"calibration": "another", "cases": [
        {"case": "gone", "predicted_dice": 0.1, "classes": {}}]})
    assert predict_it(model, trained, tmp_path / "out") == 0
    assert sorted(predicted(tmp_path / "out")) == list(NAMES)
    (model / "quality.json").unlink()
    assert predict_it(model, trained, tmp_path / "out", "--continue_prediction") == 0 and table.is_file()
    assert predict_it(model, trained, tmp_path / "out") == 0
    assert "is removed, since it described earlier predictions" in capsys.readouterr().err and not table.exists()
    assert calibrate_it(model, trained) == 0
    table.write_text('{"cases": 3}')
    (tmp_path / "out" / "a.nii.gz").unlink()
    assert predict_it(model, trained, tmp_path / "out") == 2
    assert "quality.json of predictions must be" in capsys.readouterr().err
    assert not (tmp_path / "out" / "a.nii.gz").exists()


def test_probabilities_are_scaled_only_on_request(model: Path, trained: Paths, tmp_path: Path) -> None:
    assert calibrate_it(model, trained) == 0
    path = model / "quality.json"
    write_json(path, {"plain": read_json(path)["plain"] | {"temperature": 2.0}})
    for name, flags in (("raw", ()), ("scaled", ("--calibrated_probabilities",))):
        assert predict_it(model, trained, tmp_path / name, "-f", "0", "--save_probabilities", *flags) == 0
    raw, scaled = (np.load(tmp_path / name / "a.npz")["probabilities"] for name in ("raw", "scaled"))
    np.testing.assert_allclose(scaled, np.sqrt(raw) / np.sqrt(raw).sum(0), atol=1e-6)
    assert (tmp_path / "raw" / "a.nii.gz").read_bytes() == (tmp_path / "scaled" / "a.nii.gz").read_bytes()


@pytest.mark.parametrize(("flags", "message"), [
    (["--calibrated_probabilities"], "scales the probabilities that --save_probabilities saves"),
    (["--calibrated_probabilities", "--save_probabilities"], "need the model's calibration"),
])
def test_what_calibrated_probabilities_need(
    model: Path, trained: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert predict_it(model, trained, tmp_path / "out", *flags) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_calibration_of_other_weights_or_another_way_is_not_used(
    model: Path, trained: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate_it(model, trained, "--tta") == 0
    assert calibrate_it(model, trained) == 0
    assert list(read_json(model / "quality.json")) == ["mirrored", "plain"]
    assert predict_it(model, trained, tmp_path / "step", "-step_size", "1") == 0
    assert "measured without -step_size" in capsys.readouterr().err
    path = model / "quality.json"
    write_json(path, {"plain": read_json(path)["plain"]})
    assert predict_it(model, trained, tmp_path / "tta", "--tta") == 0
    assert "was measured without --tta" in capsys.readouterr().err
    content = read_json(path)
    content["plain"]["checkpoints"]["1"] = "0" * 64
    write_json(path, content)
    assert predict_it(model, trained, tmp_path / "other") == 0
    assert "not measured with fold 1 as it is now" in capsys.readouterr().err
    assert not list(tmp_path.glob("*/quality.json"))


def test_a_fold_that_was_not_measured_has_no_calibration_though_no_digest_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs of before digests were recorded have none."""
    for fold in "01":
        write_json(tmp_path / f"fold_{fold}" / "run.json", {
            "variant": "unet", "trained_by": "samunet_train", "finished": "now",
            "encoder": {"id": "untrained", "digest": None}})
    calibration = Calibration(1.0, (0.1, 0.1), {}, {"0": None})
    write_calibration(tmp_path, "plain", calibration)
    assert usable_calibration(tmp_path, ["0"], "plain") == calibration
    assert usable_calibration(tmp_path, ["0", "1"], "plain") is None
    assert "not measured with fold 1" in capsys.readouterr().err


@pytest.mark.parametrize(("content", "field"), [
    ({"plain": {"temperature": 0}}, "temperature"), ({"other": {}}, "$.other"), ([], "array")])
def test_a_file_of_another_form_is_refused(
    model: Path, trained: Paths, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: object, field: str
) -> None:
    (model / "quality.json").write_text(json.dumps(content))
    assert predict_it(model, trained, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "quality.json must be as samunet_calibrate wrote it" in error and field in error
    assert not (tmp_path / "out").exists()


def test_folds_without_unseen_cases_cannot_calibrate(model: Path, trained: Paths,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    for fold in ("0", "1"):
        path = model / f"fold_{fold}" / "run.json"
        run = read_json(path)
        write_json(path, run | {"train_cases": run["val_cases"]})  # as fold `all`
    assert calibrate_it(model, trained) == 2
    assert "validation cases that it was not trained on" in capsys.readouterr().err
    assert not (model / "quality.json").exists()


def test_undefined_dice_does_not_count_and_few_cases_are_refused() -> None:
    labels = LabelSpace({"background": 0, "big": 1})
    voxels = Voxels(np.array([[0.0], [2.0]], np.float32), np.array([[False], [True]]))
    cases = [MeasuredCase(name, "0", {"1": {"expected_dice": value}}, {"1": value}, voxels)
             for name, value in zip("abcde", [0.2, 0.4, 0.6, 0.8, float("nan")], strict=True)]
    assert calibrated(cases, labels, {"0": None}, Path("model")).classes["1"].cases == 4
    cases[0] = replace(cases[0], dice={"1": float("nan")})
    with pytest.raises(UserError, match="4 validation cases that show each class") as caught:
        calibrated(cases, labels, {"0": None}, Path("model"))
    assert caught.value.found == "3 of big"


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="that exists"):
        validation_cases(tmp_path / "missing")
