"""Whole runs on a tiny synthetic dataset with the untrained encoder at 32 pixels, finished and interrupted."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from damage import flip
from safetensors.numpy import load_file
from whole_runs import REQUEST, model, start

from samunet.errors import UserError
from samunet.files import digest_of_file, read_json
from samunet.planning.plans import Plans
from samunet.training import length
from samunet.training import run as run_module
from samunet.training.checkpoints import save_latest
from samunet.training.run import validate_model


def test_a_finished_run_has_every_file(finished: Path) -> None:
    assert {path.name for path in finished.iterdir()} == {
        "run.json", "checkpoint_final.safetensors", "log.jsonl", "progress.png", "label_statistics.json", "validation"}
    assert {path.name for path in (finished / "validation").iterdir()} == {
        "c1.nii.gz", "d1.nii.gz", "summary.json", "metrics.json"}
    assert {path.name for path in finished.parent.iterdir()} == {
        "fold_0", "plans.json", "dataset.json", "dataset_fingerprint.json"}
    run = read_json(finished / "run.json")
    assert run["settings"]["iterations"] == 60 and run["finished"] is not None
    assert run["train_cases"] == ["a1", "a2", "b1"] and run["val_cases"] == ["c1", "d1"]
    assert run["trainable_parameters"] == sum(each.size
                                              for each in load_file(finished / "checkpoint_final.safetensors").values())
    assert run["encoder"]["id"] == run["encoder"]["name"] == "untrained" and len(run["encoder"]["digest"]) == 64
    assert list(Plans.load(finished.parent / "plans.json").encoders) == ["untrained"]
    assert run["checkpoint_digest"] == digest_of_file(finished / "checkpoint_final.safetensors")


def test_a_finished_checkpoint_that_is_damaged_before_validation_is_trained_again(finished, paths, monkeypatch,
                                                                                  capsys) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("samunet.training.run.validate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            start(REQUEST, paths)
    checkpoint = model(paths) / "fold_0.unfinished" / "checkpoint_final.safetensors"
    flip(checkpoint, checkpoint.stat().st_size - 3)
    start(REQUEST, paths)
    assert f"{checkpoint} cannot be used, so the model is trained again" in capsys.readouterr().err
    final = model(paths) / "fold_0" / "checkpoint_final.safetensors"
    assert final.read_bytes() == (finished / "checkpoint_final.safetensors").read_bytes()
    assert read_json(final.with_name("run.json"))["checkpoint_digest"] == digest_of_file(final)


def test_a_damaged_final_checkpoint_is_not_validated(finished, paths) -> None:
    shutil.copytree(finished.parent, model(paths))
    path = model(paths) / "fold_0" / "checkpoint_final.safetensors"
    flip(path, path.stat().st_size - 3)
    before = (model(paths) / "fold_0" / "validation" / "summary.json").read_bytes()
    with pytest.raises(UserError, match="A checkpoint must be whole") as caught:
        validate_model(REQUEST, paths, workers=1)
    assert caught.value.where == str(path)
    assert (model(paths) / "fold_0" / "validation" / "summary.json").read_bytes() == before


def test_summary_names_the_finished_place_and_the_references(finished: Path, prepared: Path) -> None:
    cases = read_json(finished / "validation" / "summary.json")["metric_per_case"]
    assert [case["prediction_file"] for case in cases] == [str(finished / "validation" / f"{n}.nii.gz")
                                                           for n in ("c1", "d1")]
    assert Path(cases[0]["reference_file"]).is_file()
    assert (cases[0]["metrics"]["1"]["n_ref"], cases[0]["metrics"]["2"]["n_ref"]) == (12 * 10 * 2 - 16, 16)


def test_statistics_are_of_the_training_cases_alone(finished: Path) -> None:
    statistics = read_json(finished / "label_statistics.json")
    assert list(statistics["cases"]) == ["a1", "a2", "b1"]
    assert statistics["cases"]["a1"]["a"]["voxels_per_slice"] == [0, 120, 104]
    assert statistics["voxels_per_token"] == 16


def test_interrupted_in_training_and_in_validation_ends_with_the_same_bytes(finished, paths, monkeypatch) -> None:
    def stop(*_arguments, **_named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("samunet.training.trainer.save_latest", lambda *given: (save_latest(*given), stop()))
        with pytest.raises(KeyboardInterrupt):
            start(REQUEST, paths)
    work = model(paths) / "fold_0.unfinished"
    assert not (model(paths) / "fold_0").exists() and (work / "checkpoint_latest.safetensors").is_file()
    assert len((work / "log.jsonl").read_text().splitlines()) == 1
    with monkeypatch.context() as patch:
        patch.setattr("samunet.training.validation.evaluate_folder", stop)
        with pytest.raises(KeyboardInterrupt):
            start(REQUEST, paths, must_continue=True)
    predicted = {path: path.stat().st_mtime_ns for path in (work / "validation").glob("*.nii.gz")}
    assert len(predicted) == 2
    start(REQUEST, paths)
    final = model(paths) / "fold_0"
    assert {path: (final / "validation" / path.name).stat().st_mtime_ns for path in predicted} == predicted
    for name in ("checkpoint_final.safetensors", "label_statistics.json", "validation/c1.nii.gz",
                 "validation/d1.nii.gz"):
        assert (final / name).read_bytes() == (finished / name).read_bytes(), name
    assert [json.loads(line)["iteration"] for line in (final / "log.jsonl").read_text().splitlines()] == [50, 60]


def test_the_old_run_stays_until_the_new_one_is_whole(paths, monkeypatch) -> None:
    short = dataclasses.replace(REQUEST, iterations=2)
    start(short, paths)
    final = model(paths) / "fold_0" / "checkpoint_final.safetensors"
    old = final.read_bytes()
    other = dataclasses.replace(short, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "validate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            start(other, paths)
    assert final.read_bytes() == old
    start(other, paths)
    assert final.read_bytes() != old


def test_minutes_become_a_count_that_a_resumed_run_keeps(paths, monkeypatch) -> None:
    counted = []
    monkeypatch.setattr(length, "seconds_per_iteration", lambda *_: counted.append(1) or 10.0)
    by_minutes = dataclasses.replace(REQUEST, iterations=None, minutes=0.5)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "train", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            start(by_minutes, paths)
    start(by_minutes, paths, must_continue=True)
    assert counted == [1]
    run = read_json(model(paths) / "fold_0" / "run.json")
    assert run["settings"]["iterations"] == 3 and run["settings"]["minutes"] == 0.5


def test_the_plan_gives_the_length_where_no_flag_does(paths, made) -> None:
    start(dataclasses.replace(REQUEST, iterations=None), paths)
    assert read_json(model(paths) / "fold_0" / "run.json")["settings"]["iterations"] == made.SECTION.head_iterations


def test_shots_lie_in_their_own_folder_and_leave_the_rest_out(paths) -> None:
    start(dataclasses.replace(REQUEST, iterations=2, shots=1, draw=2), paths)
    folder = model(paths) / "shots1_draw2"
    expected = np.random.RandomState(12345 + 2).permutation(["a1", "a2", "b1"])[0]
    assert read_json(folder / "fold_0" / "run.json")["train_cases"] == [expected]
    assert list(read_json(folder / "fold_0" / "label_statistics.json")["cases"]) == [expected]
    assert (folder / "plans.json").is_file()
    with pytest.raises(UserError, match="(?s)shots.*4 shots, 3 cases"):
        start(dataclasses.replace(REQUEST, shots=4), paths)


def test_where_the_disk_is_full_the_same_weights_are_trained_on_the_fly(
    prepared, paths, finished, tmp_path, monkeypatch, capsys
) -> None:
    """The encoder works in the loop, for clean cases and views alike, and in validation."""
    shutil.copytree(prepared / "preprocessed", tmp_path / "preprocessed", ignore=shutil.ignore_patterns("embeddings"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**9, used=10**9, free=1000))
    start(REQUEST, dataclasses.replace(paths, preprocessed=tmp_path / "preprocessed"))
    final = model(paths) / "fold_0"
    assert capsys.readouterr().err.count("encoded on the fly") == 3  # training, pseudo-Dice, validation
    assert not list((tmp_path / "preprocessed").glob("**/*.npy"))
    assert read_json(final / "run.json")["views"] == read_json(finished / "run.json")["views"] == 6
    for name in ("checkpoint_final.safetensors", "validation/c1.nii.gz", "validation/d1.nii.gz"):
        assert (final / name).read_bytes() == (finished / name).read_bytes(), name


def test_fold_all_trains_on_every_labelled_case(paths) -> None:
    start(dataclasses.replace(REQUEST, iterations=2, fold="all"), paths)
    run = read_json(model(paths) / "fold_all" / "run.json")
    assert run["train_cases"] == run["val_cases"] == ["a1", "a2", "b1", "c1", "d1"]


def test_a_baseline_is_fitted_without_encoder_and_embeddings(paths) -> None:
    start(dataclasses.replace(REQUEST, variant="label_prior", iterations=None), paths)
    final = model(paths, "label_prior") / "fold_0"
    # Every case has the same labels, so their mean is right everywhere.
    assert read_json(final / "validation" / "summary.json")["foreground_mean"]["Dice"] == 1
    run = read_json(final / "run.json")
    assert run["settings"]["iterations"] == 0 and run["encoder"]["digest"] is None
    assert {path.name for path in final.iterdir()} == {
        "run.json", "checkpoint_final.safetensors", "label_statistics.json", "validation"}
