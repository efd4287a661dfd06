"""What belongs to a run's settings, and what is refused because it does not match them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from whole_runs import REQUEST, model, start

from samunet.errors import UserError
from samunet.files import read_json, write_json
from samunet.preprocessing.store import ArrayStore
from samunet.training import run as run_module
from samunet.training.experiment import open_experiment
from samunet.training.run import ensure_trained


def test_images_without_labels_are_settings_of_those_that_learn_from_them(paths, tmp_path) -> None:
    shutil.copytree(paths.preprocessed, tmp_path / "preprocessed", ignore=shutil.ignore_patterns("embeddings"))
    changed = dataclasses.replace(paths, preprocessed=tmp_path / "preprocessed")
    arrays = ArrayStore(changed.preprocessed / "Dataset005_Made" / "tiny" / "arrays")
    arrays.note(dataclasses.replace(arrays.properties("b2"), image_digest="another"))

    def differing(variant: str) -> list[str]:
        request = dataclasses.replace(REQUEST, variant=variant)
        here, there = (open_experiment(request, each).settings for each in (paths, changed))
        return [line.split(":")[0] for line in here.differences(there.to_json())]

    assert differing("unet_simclr") == differing("hybrid_selftrain") == ["unlabelled"] == differing("hybrid_teacher")
    assert differing("unet") == differing("hybrid") == []


def test_what_labels_mean_is_a_setting_and_their_names_are_not(paths, tmp_path) -> None:
    request = dataclasses.replace(REQUEST, variant="unet")
    plain = open_experiment(request, paths).settings
    shutil.copytree(paths.raw, tmp_path / "raw")
    file = tmp_path / "raw" / "Dataset005_Made" / "dataset.json"
    for labels, names in (({"background": 0, "b": 2, "other": 1}, []),
                          ({"background": 0, "a": 1, "ignore": 2}, ["labels"]),
                          ({"background": 0, "whole": [1, 2], "b": 2}, ["labels"])):
        order = {"regions_class_order": [1, 2]} if "whole" in labels else {}
        write_json(file, {**read_json(file), "labels": labels, **order})
        found = open_experiment(request, dataclasses.replace(paths, raw=tmp_path / "raw")).settings
        assert [line.split(":")[0] for line in found.differences(plain.to_json())] == names


def test_c_on_a_finished_run_says_so_and_on_another_names_the_difference(paths) -> None:
    with pytest.raises(UserError, match="needs a run to continue"):
        start(REQUEST, paths, must_continue=True)
    assert not model(paths).exists()
    short = dataclasses.replace(REQUEST, iterations=2)
    first = start(short, paths)
    weights = (model(paths) / "fold_0" / "checkpoint_final.safetensors").read_bytes()
    again = start(short, paths, must_continue=True)
    assert again.text == f"already finished: {first.folder}"
    assert again.dice == first.dice and first.text == f"{first.folder}: mean Dice {first.dice:.4f}"
    with pytest.raises(UserError, match="iterations: 2 there, 60 here"):
        start(REQUEST, paths, must_continue=True)
    with pytest.raises(UserError, match="seed: 0 there, 3 here"):
        start(dataclasses.replace(short, seed=3), paths, must_continue=True)
    assert (model(paths) / "fold_0" / "checkpoint_final.safetensors").read_bytes() == weights


def test_folds_of_other_plans_are_refused(paths) -> None:
    short = dataclasses.replace(REQUEST, iterations=2)
    start(short, paths)
    plans = read_json(model(paths) / "plans.json")
    plans["encoders"]["untrained"]["embeddings"]["batch_size"] = 3
    write_json(model(paths) / "plans.json", plans)
    with pytest.raises(UserError, match="(?s)same plans.*fold_0"):
        start(dataclasses.replace(short, fold="1"), paths)
    start(short, paths)  # the only fold may be replaced


def test_folds_of_labels_that_meant_something_else_are_refused(paths, tmp_path) -> None:
    prior, raw = dataclasses.replace(REQUEST, variant="label_prior", iterations=None), tmp_path / "raw"
    start(prior, paths)
    shutil.copytree(paths.raw, raw)
    content = read_json(raw / "Dataset005_Made" / "dataset.json")
    write_json(raw / "Dataset005_Made" / "dataset.json", {  # as many channels
        **content, "labels": {"background": 0, "both": [1, 2], "b": [2], "a": [1]}, "regions_class_order": [1, 2, 1]})
    with pytest.raises(UserError, match="(?s)same labels.*fold_0 trained under others"):
        start(dataclasses.replace(prior, fold="1"), dataclasses.replace(paths, raw=raw))
    assert read_json(model(paths, "label_prior") / "dataset.json") == content
    start(dataclasses.replace(prior, fold="1"), paths)


def test_a_batch_that_the_processes_do_not_divide_is_reported_before_anything_is_encoded(paths, monkeypatch) -> None:
    monkeypatch.setattr("samunet.processes.count", lambda: 7)
    monkeypatch.setattr("samunet.training.experiment.Experiment.data", lambda *given: 1 / 0)
    with pytest.raises(UserError, match="samples, 7 processes"):
        start(dataclasses.replace(REQUEST, iterations=2), paths)


def test_arrays_of_another_plan_are_refused(paths, tmp_path) -> None:
    here = dataclasses.replace(paths, preprocessed=Path(shutil.copytree(paths.preprocessed, tmp_path / "preprocessed")))
    plans = read_json(here.preprocessed / "Dataset005_Made" / "tiny.json")
    plans["dataset"]["spacing_mm"] = [2.0, 2.0, 2.0]
    write_json(here.preprocessed / "Dataset005_Made" / "tiny.json", plans)
    with pytest.raises(UserError, match="(?s)arrays must be made by its plan.*a1, a2, b1.*samunet_preprocess"):
        start(dataclasses.replace(REQUEST, iterations=2), here)
    assert not here.results.exists()


def test_a_run_that_a_benchmark_began_is_for_use_once_it_is_trained_for_use(paths, monkeypatch) -> None:
    prior = dataclasses.replace(REQUEST, variant="label_prior", iterations=None)
    monkeypatch.setattr(run_module, "validate", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ensure_trained(prior, paths, trained_by="samunet_benchmark", workers=1)
    monkeypatch.undo()
    start(prior, paths)
    assert read_json(model(paths, "label_prior") / "fold_0" / "run.json")["trained_by"] == "samunet_train"


def test_pretrained_weights_are_taken_and_part_of_the_settings(paths, finished, capsys) -> None:
    weights = finished / "checkpoint_final.safetensors"
    start(dataclasses.replace(REQUEST, iterations=1, pretrained_weights=weights), paths)
    assert f"starting from {weights}" in capsys.readouterr().err
    with pytest.raises(UserError, match="pretrained_weights"):
        start(dataclasses.replace(REQUEST, iterations=1), paths, must_continue=True)
    with pytest.raises(UserError, match="Pretrained weights must be a file"):
        start(dataclasses.replace(REQUEST, pretrained_weights=Path("nowhere")), paths)


def test_an_unusable_device_is_refused(paths) -> None:
    with pytest.raises(UserError, match="(?s)-device.*abacus"):
        start(dataclasses.replace(REQUEST, device="abacus"), paths)
