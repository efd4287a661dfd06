"""nnU-Net's own commands on a tiny dataset: what it is handed, what it is cut to, what is read back."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from samunet.benchmarking.jobs import Benchmark, Job
from samunet.benchmarking.nnunet import NnunetRun, run_nnunet
from samunet.dataset.dataset import load_dataset
from samunet.dataset.io.tiff3d_io import Tiff3dIO
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import make_folder, read_json, write_json

pytestmark = pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="needs nnU-Net")
ASKED = Benchmark("5", ("nnunet_2d",), ("0",), (2,), 1, "untrained", "tiny", "cpu", iterations=20)
JOB = Job("nnunet_2d", "0", 2, 0)


@pytest.mark.slow
def test_nnunet_trains_on_the_draw_alone_and_is_scored_on_the_fold(paths: Paths) -> None:
    run_nnunet(ASKED, JOB, paths)
    folder = ASKED.folder(JOB, paths)
    run = read_json(folder / "run.json")
    assert len(run["train_cases"]) == 2 and set(run["train_cases"]) < {"a", "b", "c"} and run["val_cases"] == ["d", "e",
                                                                                                               "f"]
    assert run["settings"]["iterations"] == 20 and run["settings"]["batch_size"] <= 12
    assert run["trainable_parameters"] > 10**5
    assert run["threads"] == torch.get_num_threads()
    alone = run["budget"]["training_alone"]
    assert alone["iterations"] == 20 and 0 < alone["seconds"] < run["budget"]["seconds"]
    plans = read_json(next(folder.glob("results/*/*/plans.json")))
    assert plans["plans_name"] == "nnUNetPlansBudget"
    log = (folder / "commands.log").read_text()
    assert "nnUNetv2_train" in log and "nnUNetv2_predict" in log
    summary = read_json(folder / "validation" / "summary.json")
    assert [Path(case["reference_file"]).name for case in summary["metric_per_case"]] == [f"{n}.nii.gz" for n in "def"]
    assert not (folder / "raw").exists() and not folder.with_name("fold_0.unfinished").exists()
    before = (folder / "run.json").stat().st_mtime_ns
    run_nnunet(ASKED, JOB, paths)
    assert (folder / "run.json").stat().st_mtime_ns == before


def test_the_raw_folder_it_is_handed_holds_the_drawn_cases_alone(paths: Paths, tmp_path: Path) -> None:
    dataset = load_dataset(paths.raw / "Dataset005_Made")
    run = NnunetRun(dataset, "2d", ("a", "c"), ("d",), 20, None, "cpu")
    run._hand_over(make_folder(tmp_path / "work"))
    raw = tmp_path / "work" / "raw" / "Dataset005_Made"
    assert sorted(path.name for path in (raw / "imagesTr").iterdir()) == ["a_0000.nii.gz", "c_0000.nii.gz"]
    assert sorted(path.name for path in (raw / "labelsTr").iterdir()) == ["a.nii.gz", "c.nii.gz"]
    assert [path.name for path in (tmp_path / "work" / "images").iterdir()] == ["d_0000.nii.gz"]
    assert read_json(raw / "dataset.json")["numTraining"] == 2


def test_3d_tiffs_are_handed_over_and_measured_with_their_spacing(tmp_path: Path) -> None:
    raw = make_folder(tmp_path / "Dataset007_Tiff")
    for name in "ab":
        for folder, file, dtype in (("imagesTr", f"{name}_0000", np.float32), ("labelsTr", name, np.uint8)):
            tifffile.imwrite(make_folder(raw / folder) / f"{file}.tif", np.ones((4, 6, 6), dtype),
                             photometric="minisblack")
            write_json(raw / folder / f"{name}.json", {"spacing": [5, 2, 2]})
    (raw / "labelsTr" / "a.json").unlink()  # it has 1 mm by nnU-Net's rule
    write_json(raw / "dataset.json", {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1},
                                      "numTraining": 2,
                                      "file_ending": ".tif", "overwrite_image_reader_writer": "Tiff3DIO"})
    run = NnunetRun(load_dataset(raw), "3d_fullres", ("a",), ("b",), 20, None, "cpu")
    work = make_folder(tmp_path / "work")
    run._hand_over(work)
    handed = work / "raw" / raw.name
    assert Tiff3dIO().read_images([handed / "imagesTr" / "a_0000.tif"])[1].spacing_mm == (5.0, 2.0, 2.0)
    assert sorted(path.name for path in (handed / "labelsTr").iterdir()) == ["a.tif"]
    assert Tiff3dIO().read_images([work / "images" / "b_0000.tif"])[1].spacing_mm == (5.0, 2.0, 2.0)
    assert Tiff3dIO().read_segmentation(run._labels_of(work, ["b"]) / "b.tif")[1].spacing_mm == (5.0, 2.0, 2.0)


def test_a_configuration_that_nnunet_does_not_plan_is_reported(paths: Paths, tmp_path: Path) -> None:
    run = NnunetRun(load_dataset(paths.raw / "Dataset005_Made"), "3d_fullres", ("a",), ("d",), 20, None, "cpu")
    write_json(tmp_path / "preprocessed" / "Dataset005_Made" / "nnUNetPlans.json",
               {"configurations": {"2d": {"batch_size": 3}}})
    with pytest.raises(UserError, match="(?s)must plan the configuration.*found: 3d_fullres.*2d"):
        run._limit_batch(tmp_path)


def test_a_command_that_fails_is_reported_with_its_last_lines(paths: Paths, tmp_path: Path) -> None:
    dataset = load_dataset(paths.raw / "Dataset005_Made")
    run = NnunetRun(dataset, "2d", ("a",), ("d",), 20, None, "cpu")
    work = make_folder(tmp_path / "work")
    with pytest.raises(UserError) as caught:
        run._call(["nnUNetv2_train", "999", "2d", "all"], work)
    assert "must succeed" in caught.value.rule and "999" in caught.value.found
    assert "nnUNetv2_train" in (work / "commands.log").read_text()


def test_what_an_earlier_try_of_other_settings_left_is_not_gone_on_with(paths: Paths, tmp_path: Path) -> None:
    dataset = load_dataset(paths.raw / "Dataset005_Made")
    folder = tmp_path / "fold_0"
    first = NnunetRun(dataset, "2d", ("a",), ("d",), 20, None, "cpu")
    (first._work_folder(folder) / "seconds.json").write_text('{"training": 1.0}')
    assert (first._work_folder(folder) / "seconds.json").is_file()
    longer = NnunetRun(dataset, "2d", ("a",), ("d",), 40, None, "cpu")
    assert not (longer._work_folder(folder) / "seconds.json").exists()


def almost_finish(run: NnunetRun, folder: Path) -> None:
    """Leave what nnU-Net leaves when all its steps are done; it predicted the labels themselves."""
    work = run._work_folder(folder)
    write_json(work / "seconds.json", dict.fromkeys(("preprocessing", "training", "validation"), 1.0))
    output = work / "results" / run.dataset.name / "nnUNetTrainerBudget__nnUNetPlansBudget__2d" / "fold_all"
    write_json(output / "budget.json", {"seconds": 1.0, "parameters": 7, "threads": 1, "iterations": run.iterations,
                                        "batch_size": 2})
    for name in run.val:
        shutil.copy(run.dataset.folder / "labelsTr" / f"{name}.nii.gz",
                    make_folder(work / "validation") / f"{name}.nii.gz")


def test_a_finished_run_is_reused_for_the_same_settings_and_data_alone(paths: Paths, tmp_path: Path) -> None:
    raw = shutil.copytree(paths.raw / "Dataset005_Made", tmp_path / "Dataset005_Made")
    folder, content = tmp_path / "fold_0", read_json(raw / "dataset.json")

    def run(iterations: int = 20) -> NnunetRun:
        return NnunetRun(load_dataset(raw), "2d", ("a",), ("d",), iterations, None, "cpu")

    def makes_anew(asked: NnunetRun) -> bool:
        before = (folder / "run.json").stat().st_mtime_ns
        almost_finish(asked, folder)
        asked(folder)
        return (folder / "run.json").stat().st_mtime_ns != before and read_json(folder
                                                                                / "run.json")["asked"] == asked.request

    almost_finish(run(), folder)
    run()(folder)
    assert read_json(folder / "validation" / "summary.json")["foreground_mean"]["Dice"] == 1.0
    write_json(raw / "dataset.json", {**content, "description": "of no matter"})
    assert not makes_anew(run())
    (folder / "validation" / "summary.json").unlink()  # what a run.json alone does not say
    assert makes_anew(run()) and not makes_anew(run())
    assert makes_anew(run(40)) and makes_anew(run())
    shutil.copy(raw / "labelsTr" / "e.nii.gz", raw / "labelsTr" / "d.nii.gz")
    assert makes_anew(run())
    shutil.copy(raw / "imagesTr" / "b_0000.nii.gz", raw / "imagesTr" / "a_0000.nii.gz")
    assert makes_anew(run())
    shutil.copy(raw / "labelsTr" / "c.nii.gz", raw / "labelsTr" / "b.nii.gz")  # of a case that has no part in it
    assert not makes_anew(run())
    write_json(raw / "dataset.json", {**content, "labels": {"background": 0, "b": 1, "a": 2}})
    assert makes_anew(run())
    write_json(raw / "dataset.json", {**content, "channel_names": {"0": "CT"}})
    assert makes_anew(run())


def test_what_was_left_of_other_data_is_not_gone_on_with(paths: Paths, tmp_path: Path) -> None:
    raw = shutil.copytree(paths.raw / "Dataset005_Made", tmp_path / "Dataset005_Made")
    before = NnunetRun(load_dataset(raw), "2d", ("a",), ("d",), 20, None, "cpu")
    almost_finish(before, tmp_path / "fold_0")
    shutil.copy(raw / "labelsTr" / "b.nii.gz", raw / "labelsTr" / "a.nii.gz")
    after = NnunetRun(load_dataset(raw), "2d", ("a",), ("d",), 20, None, "cpu")
    assert [path.name for path in after._work_folder(tmp_path / "fold_0").iterdir()] == ["asked.json"]


def test_sequences_of_frames_are_refused(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samunet.benchmarking.nnunet.choose_reader", lambda dataset: "VideoIO")
    with pytest.raises(UserError, match="nnU-Net does not support sequences"):
        run_nnunet(ASKED, JOB, paths)


def test_dicom_series_are_refused(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_dataset(paths.raw / "Dataset005_Made")
    cases = (replace(dataset.cases[0], images=(tmp_path,)), *dataset.cases[1:])
    monkeypatch.setattr("samunet.benchmarking.nnunet.load_dataset", lambda folder: replace(dataset, cases=cases))
    with pytest.raises(UserError, match="nnU-Net does not read DICOM"):
        run_nnunet(ASKED, JOB, paths)
