"""Whole runs on a tiny made dataset with the untrained encoder at 32 pixels, and every way to go on or be refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from damage import flip
from safetensors.numpy import load_file

from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import digest_of_file, read_json, write_json
from samunet.inference.model_folder import load_model
from samunet.inference.predict_folder import PredictionSettings, predict_folder
from samunet.networks.checkpoints.encoders import load_encoder
from samunet.networks.checkpoints.untrained import untrained_state
from samunet.planning.plans import Plans
from samunet.preprocessing.store import ArrayStore
from samunet.training import run as run_module
from samunet.training.checkpoints import save_latest
from samunet.training.experiment import open_experiment
from samunet.training.run import ensure_trained, train_model, validate_model
from samunet.training.settings import Request
from samunet.variants.hybrid import HybridVariant

REQUEST = Request("5", "linear_head", "0", "untrained", "tiny", iterations=60)


@pytest.fixture
def paths(prepared: Path, tmp_path: Path) -> Paths:
    return Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")


@pytest.fixture(scope="module")
def finished(prepared: Path, tmp_path_factory) -> Path:
    """The fold folder of an undisturbed run of REQUEST."""
    results = tmp_path_factory.mktemp("finished")
    train_model(REQUEST, Paths(prepared / "raw", prepared / "preprocessed", results), must_continue=False, workers=1)
    return results / "Dataset005_Made" / "linear_head__tiny__untrained" / "fold_0"


def model(paths: Paths, variant: str = "linear_head") -> Path:
    return paths.results / "Dataset005_Made" / f"{variant}__tiny__untrained"


def start(request: Request, paths: Paths, must_continue: bool = False) -> None:
    train_model(request, paths, must_continue=must_continue, workers=1)


def of_budget(pictures: int, paths: Paths, folder: Path) -> Paths:
    """The same, with a plan that has room for so many pictures of views."""
    shutil.copytree(paths.preprocessed, folder, ignore=shutil.ignore_patterns("embeddings"))
    plans = read_json(folder / "Dataset005_Made" / "tiny.json")
    plans["encoders"]["untrained"]["embeddings"]["view_pictures"] = pictures
    write_json(folder / "Dataset005_Made" / "tiny.json", plans)
    return dataclasses.replace(paths, preprocessed=folder)


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
    assert run["trainable_parameters"] == sum(each.size for each in load_file(finished / "checkpoint_final.safetensors").values())
    assert run["encoder"]["id"] == run["encoder"]["name"] == "untrained" and len(run["encoder"]["digest"]) == 64
    assert list(Plans.load(finished.parent / "plans.json").encoders) == ["untrained"]
    assert run["checkpoint_digest"] == digest_of_file(finished / "checkpoint_final.safetensors")


def test_a_finished_checkpoint_that_is_damaged_before_validation_is_trained_again(finished, paths, monkeypatch, capsys) -> None:
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
    assert [case["prediction_file"] for case in cases] == [str(finished / "validation" / f"{n}.nii.gz") for n in ("c1", "d1")]
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
    for name in ("checkpoint_final.safetensors", "label_statistics.json", "validation/c1.nii.gz", "validation/d1.nii.gz"):
        assert (final / name).read_bytes() == (finished / name).read_bytes(), name
    assert [json.loads(line)["iteration"] for line in (final / "log.jsonl").read_text().splitlines()] == [50, 60]


@pytest.mark.parametrize("variant", ["fewshot", "hybrid", "hybrid_off", "hybrid_augment", "hybrid_selftrain", "unet", "unet_simclr", "autosam_full", "lora", "3d_adapter"])
def test_networks_resume_to_the_same_bytes_and_predict_what_they_validated(variant: str, paths, tmp_path, monkeypatch) -> None:
    request = dataclasses.replace(REQUEST, variant=variant, iterations=4)
    undisturbed = dataclasses.replace(paths, results=tmp_path / "undisturbed")
    start(request, undisturbed)
    monkeypatch.setattr("samunet.training.trainer.ITERATIONS_PER_EPOCH", 3)
    with monkeypatch.context() as patch:
        patch.setattr("samunet.training.trainer.save_latest", lambda *given: (save_latest(*given), 1 / 0))
        with pytest.raises(ZeroDivisionError):
            start(request, paths)
    start(request, paths, must_continue=True)
    name = "checkpoint_final.safetensors"
    assert (model(paths, variant) / "fold_0" / name).read_bytes() == (model(undisturbed, variant) / "fold_0" / name).read_bytes()
    assert not list(model(paths, variant).rglob("checkpoint_latest*"))
    loaded = load_model(model(paths, variant), None, torch.device("cpu"))
    predict_folder(loaded, paths.raw / "Dataset005_Made" / "imagesTr", tmp_path / "predicted", PredictionSettings())
    predicted, validated = (sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "c1.nii.gz")))
                            for folder in (tmp_path / "predicted", model(paths, variant) / "fold_0" / "validation"))
    np.testing.assert_array_equal(predicted, validated)


@pytest.mark.slow
def test_three_hybrid_runs_that_register_again_give_the_same_bytes(paths, tmp_path) -> None:
    before, seen = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(), set()
    try:
        for threads in (1, 2, 4):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            fresh = dataclasses.replace(paths, results=tmp_path / f"results_{threads}")
            start(dataclasses.replace(REQUEST, variant="hybrid", iterations=2, shots=2), fresh)
            fold = model(fresh, "hybrid") / "shots2_draw0" / "fold_0"
            seen.add(tuple((fold / name).read_bytes() for name in ("checkpoint_final.safetensors", "validation/c1.nii.gz")))
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)
    assert len(seen) == 1


def test_what_was_registered_before_training_began_is_kept(paths, monkeypatch) -> None:
    request = dataclasses.replace(REQUEST, variant="hybrid", iterations=1, shots=1)
    with monkeypatch.context() as patch:
        patch.setattr("samunet.variants.kinds.VolumeAugmentation", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            start(request, paths)
    priors = model(paths, "hybrid") / "shots1_draw0" / "fold_0.unfinished" / "priors"
    assert len(list(priors.glob("*.npy"))) == 6
    carried, prior = [], HybridVariant.prior
    monkeypatch.setattr(HybridVariant, "prior", lambda *given: carried.append(given[1].properties.name) or prior(*given))
    start(request, paths, must_continue=True)
    assert set(carried) == {"c1", "d1"}  # to be validated


def test_of_a_single_case_hybrid_has_a_view_where_the_plan_has_room_for_none(paths, tmp_path, capsys) -> None:
    request = dataclasses.replace(REQUEST, variant="hybrid", iterations=1, shots=1)
    start(request, of_budget(0, paths, tmp_path / "preprocessed"))
    assert read_json(model(paths, "hybrid") / "shots1_draw0" / "fold_0" / "run.json")["views"] == 1
    assert "no room for a view of the only training case" in capsys.readouterr().err


@pytest.mark.parametrize(("pictures", "views", "transported"), [(9, 1, 0), (27, 3, 1)])
def test_hybrid_augment_tells_how_many_views_are_transported(paths, tmp_path, capsys, pictures, views, transported) -> None:
    """Three cases of three slices, a picture each; every second view is carried."""
    start(dataclasses.replace(REQUEST, variant="hybrid_augment", iterations=1), of_budget(pictures, paths, tmp_path / "preprocessed"))
    run = read_json(model(paths, "hybrid_augment") / "fold_0" / "run.json")
    assert (run["views"], run["transported_views"]) == (views, transported)
    assert ("trains as hybrid_off does" in capsys.readouterr().err) == (transported == 0)
    cached = [path.stem for path in (tmp_path / "preprocessed").rglob("a1__view*.npy")]
    assert len(cached) == views and sum(name.startswith("a1__view102_") for name in cached) == transported


@pytest.mark.parametrize(("variant", "fast"), [("linear_head", True), ("lora", False)])
def test_weights_that_are_trained_or_added_to_are_never_rounded(variant: str, fast: bool, paths, monkeypatch) -> None:
    asked = []
    for module in ("samunet.training.experiment", "samunet.inference.model_folder"):
        monkeypatch.setattr(f"{module}.load_encoder", lambda *given, **named: asked.append(named["fast"]) or load_encoder(*given, **named))
    start(dataclasses.replace(REQUEST, variant=variant, iterations=1), paths)
    load_model(model(paths, variant), None, torch.device("cpu"))
    assert asked == [fast, fast]


def test_images_without_labels_are_settings_of_those_that_learn_from_them(paths, tmp_path) -> None:
    shutil.copytree(paths.preprocessed, tmp_path / "preprocessed", ignore=shutil.ignore_patterns("embeddings"))
    changed = dataclasses.replace(paths, preprocessed=tmp_path / "preprocessed")
    arrays = ArrayStore(changed.preprocessed / "Dataset005_Made" / "tiny" / "arrays")
    arrays.note(dataclasses.replace(arrays.properties("b2"), image_digest="another"))

    def differing(variant: str) -> list[str]:
        request = dataclasses.replace(REQUEST, variant=variant)
        here, there = (open_experiment(request, each).settings for each in (paths, changed))
        return [line.split(":")[0] for line in here.differences(there.to_json())]

    assert differing("unet_simclr") == differing("hybrid_selftrain") == ["unlabelled"]
    assert differing("unet") == differing("hybrid") == []


def test_what_labels_mean_is_a_setting_and_their_names_are_not(paths, tmp_path) -> None:
    request = dataclasses.replace(REQUEST, variant="unet")
    plain = open_experiment(request, paths).settings
    shutil.copytree(paths.raw, tmp_path / "raw")
    file = tmp_path / "raw" / "Dataset005_Made" / "dataset.json"
    for labels, names in (({"background": 0, "b": 2, "other": 1}, []), ({"background": 0, "a": 1, "ignore": 2}, ["labels"]),
                          ({"background": 0, "whole": [1, 2], "b": 2}, ["labels"])):
        order = {"regions_class_order": [1, 2]} if "whole" in labels else {}
        write_json(file, {**read_json(file), "labels": labels, **order})
        found = open_experiment(request, dataclasses.replace(paths, raw=tmp_path / "raw")).settings
        assert [line.split(":")[0] for line in found.differences(plain.to_json())] == names


def test_3d_adapters_have_an_input_of_their_own(paths) -> None:
    for variant in ("3d_adapter", "lora"):
        start(dataclasses.replace(REQUEST, variant=variant, iterations=1), paths)
    sections = [read_json(model(paths, variant) / "plans.json")["encoders"]["untrained"]["embeddings"] for variant in ("3d_adapter", "lora")]
    assert [section["input_size"] for section in sections] == [16, 32]
    loaded = load_model(model(paths, "3d_adapter"), None, torch.device("cpu"))
    assert loaded.variants[0].context.encoder_plan.input_size == 16
    assert loaded.variants[0].network.encoder.encoder.pos_embed.shape[1:3] == (1, 1)


def test_in_context_trains_nothing_however_long_it_is_asked_to(paths) -> None:
    start(dataclasses.replace(REQUEST, variant="in_context", iterations=None, minutes=3.0), paths)
    folder = model(paths, "in_context") / "fold_0"
    run, weights = read_json(folder / "run.json"), load_file(folder / "checkpoint_final.safetensors")
    assert (run["settings"]["iterations"], run["settings"]["minutes"]) == (0, None)
    decoder = {name: tensor for name, tensor in untrained_state().items() if name.startswith("mask_decoder.")}
    assert decoder and all(np.array_equal(weights[name.replace("mask_decoder", "decoder")], tensor.numpy()) for name, tensor in decoder.items())
    scores = run["tokens"]["left_out_dice"]
    assert list(scores) == ["mean", "clusters", "farthest"] and run["tokens"]["rule"] == max(scores, key=scores.__getitem__)
    assert weights["content"].shape[1:] == (2, 2 if run["tokens"]["rule"] == "mean" else 8, 256)
    assert set(weights["units"].tolist()) == {0, 1, 2}
    assert len(read_json(folder / "validation" / "summary.json")["metric_per_case"]) == 2


def test_c_on_a_finished_run_says_so_and_on_another_names_the_difference(paths, capsys) -> None:
    with pytest.raises(UserError, match="needs a run to continue"):
        start(REQUEST, paths, must_continue=True)
    assert not model(paths).exists()
    short = dataclasses.replace(REQUEST, iterations=2)
    start(short, paths)
    weights = (model(paths) / "fold_0" / "checkpoint_final.safetensors").read_bytes()
    capsys.readouterr()
    start(short, paths, must_continue=True)
    assert "already finished" in capsys.readouterr().out
    with pytest.raises(UserError, match="iterations: 2 there, 60 here"):
        start(REQUEST, paths, must_continue=True)
    with pytest.raises(UserError, match="seed: 0 there, 3 here"):
        start(dataclasses.replace(short, seed=3), paths, must_continue=True)
    assert (model(paths) / "fold_0" / "checkpoint_final.safetensors").read_bytes() == weights


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
    monkeypatch.setattr(run_module, "measured_iterations", lambda *_: counted.append(1) or 3)
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
    assert capsys.readouterr().err.count("encoded on the fly") == 2  # training, validation
    assert not list((tmp_path / "preprocessed").glob("**/*.npy"))
    assert read_json(final / "run.json")["views"] == read_json(finished / "run.json")["views"] == 6
    for name in ("checkpoint_final.safetensors", "validation/c1.nii.gz", "validation/d1.nii.gz"):
        assert (final / name).read_bytes() == (finished / name).read_bytes(), name


def test_fold_all_trains_on_every_labelled_case(paths) -> None:
    start(dataclasses.replace(REQUEST, iterations=2, fold="all"), paths)
    run = read_json(model(paths) / "fold_all" / "run.json")
    assert run["train_cases"] == run["val_cases"] == ["a1", "a2", "b1", "c1", "d1"]


def test_a_comparator_is_fitted_without_encoder_and_embeddings(paths) -> None:
    start(dataclasses.replace(REQUEST, variant="label_prior", iterations=None), paths)
    final = model(paths, "label_prior") / "fold_0"
    # Every case has the same labels, so their mean is right everywhere.
    assert read_json(final / "validation" / "summary.json")["foreground_mean"]["Dice"] == 1
    run = read_json(final / "run.json")
    assert run["settings"]["iterations"] == 0 and run["encoder"]["digest"] is None
    assert {path.name for path in final.iterdir()} == {
        "run.json", "checkpoint_final.safetensors", "label_statistics.json", "validation"}


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


def test_a_batch_that_the_processes_do_not_divide_is_told_before_anything_is_encoded(paths, monkeypatch) -> None:
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
