"""Labels from the command line: equal to nnU-Net's, by hand, and with predictions that are missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from probability_folders import nnunet_in_threads
from segmentation_folders import assert_equal, folders, write

from samunet import console
from samunet.cli.evaluate_folder import main as evaluate_folder
from samunet.cli.evaluate_simple import main


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_summary_equals_nnunets(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("nnunetv2")
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    nnunet_in_threads(monkeypatch, "nnunetv2.evaluation.evaluate_predictions")
    reference, prediction = folders(tmp_path, ignore=5)
    compute_metrics_on_folder(str(reference), str(prediction), str(tmp_path / "theirs.json"), SimpleITKIO(), ".nii.gz",
                              [1, 3], 5, 1)
    assert main([str(reference), str(prediction), "-l", "1", "3", "-il", "5", "-o", str(tmp_path / "ours.json"),
                 "-np", "1"]) == 0
    ours, theirs = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("ours", "theirs"))
    assert_equal(ours, theirs)


def test_missing_predictions_need_chill_and_are_named(tmp_path: Path, capsys) -> None:
    for name in ("a", "b"):
        write(tmp_path / "reference" / f"{name}.nii.gz", np.array([[[1, 1, 2, 0]]]))
    write(tmp_path / "prediction" / "a.nii.gz", np.array([[[1, 0, 2, 9]]]))
    given = [str(tmp_path / "reference"), str(tmp_path / "prediction"), "-l", "1", "-np", "1"]
    assert main(given) == 2
    assert "1 of 2 are missing: b.nii.gz" in capsys.readouterr().err
    assert not (tmp_path / "prediction" / "summary.json").exists()
    assert main([*given, "--chill"]) == 0
    assert "1 of 2 references have no prediction and are not evaluated: b.nii.gz" in capsys.readouterr().err
    summary = json.loads((tmp_path / "prediction" / "summary.json").read_text())
    assert summary["mean"]["1"]["Dice"] == pytest.approx(2 / 3) and len(summary["metric_per_case"]) == 1
    (tmp_path / "prediction" / "a.nii.gz").unlink()
    assert main([*given, "--chill"]) == 2
    assert "none of 2" in capsys.readouterr().err


def test_the_ignore_label_is_no_class(tmp_path: Path, capsys) -> None:
    assert main([str(tmp_path), str(tmp_path), "-l", "1", "2", "-il", "2"]) == 2
    assert "must not be evaluated" in capsys.readouterr().err
    assert main([str(tmp_path), str(tmp_path), "-l", "1"]) == 2
    assert "no image file" in capsys.readouterr().err


@pytest.mark.parametrize("moved, code", [((0.5, 0.0, 0.0), 0), ((500.0, 0.0, 0.0), 0), (None, 2)])
def test_other_grids_are_accepted_and_refused_as_by_evaluate_folder(
    tmp_path: Path, monkeypatch, capsys, moved, code: int
) -> None:
    """A shifted origin is warned of, at any distance, since voxels are matched by index as in nnU-Net."""
    write(tmp_path / "reference" / "a.nii.gz", np.array([[[1, 1, 2, 0]]]))
    spacing = (1.0, 2.0, 5.0) if moved else (3.0, 2.0, 5.0)
    write(tmp_path / "prediction" / "a.nii.gz", np.array([[[1, 0, 2, 0]]]), spacing)
    if moved:
        image = sitk.ReadImage(str(tmp_path / "prediction" / "a.nii.gz"))
        image.SetOrigin(moved)
        sitk.WriteImage(image, str(tmp_path / "prediction" / "a.nii.gz"))
    (tmp_path / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1, "b": 2}, "numTraining": 1,
        "file_ending": ".nii.gz"}))
    folders_given = [str(tmp_path / "reference"), str(tmp_path / "prediction"), "-np", "1", "-o"]
    assert main([*folders_given, str(tmp_path / "simple.json"), "-l", "1", "2"]) == code
    simple = capsys.readouterr().err.replace("simple.json", "")
    monkeypatch.setattr(console, "_said", set())  # as in a process of its own
    assert evaluate_folder([*folders_given, str(tmp_path / "folder.json"), "-djfile",
                            str(tmp_path / "dataset.json")]) == code
    assert capsys.readouterr().err.replace("folder.json", "") == simple
    assert ("origin or direction" in simple) == (moved is not None) and ("reference's spacing" in simple) == (code == 2)
    written = [tmp_path / f"{name}.json" for name in ("simple", "folder")]
    assert [path.exists() for path in written] == [code == 0] * 2
    if code == 0:
        assert written[0].read_text() == written[1].read_text()
