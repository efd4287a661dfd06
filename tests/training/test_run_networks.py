"""Whole runs of the variants that train networks: resumed to the same bytes, and what each adds to a run."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.numpy import load_file
from whole_runs import REQUEST, model, of_budget, replanned, start

from samunet.files import read_json
from samunet.inference.model_folder import load_model
from samunet.inference.predict_folder import PredictionSettings, predict_folder
from samunet.networks.checkpoints.encoders import load_encoder
from samunet.networks.checkpoints.untrained import untrained_state
from samunet.training.checkpoints import save_latest
from samunet.variants.hybrid import HybridVariant

VOXELS = {"shape": [2, 12, 10], "place": [1, 2, 2], "strides": [[1, 1, 1], [1, 2, 2]],
          "kernels": [[1, 3, 3], [3, 3, 3]], "reasons": {}}
SMALL = {"depth": 2, "strides": [[1, 1, 1]], "kernels": [[1, 3, 3]], "embeddings": False, "voxels": VOXELS,
         "reasons": {}}


def trained_twice(request, paths, tmp_path, monkeypatch):
    """The weights of a run that was ended by a fault and went on, whose bytes are those of one that was not."""
    undisturbed = dataclasses.replace(paths, results=tmp_path / "undisturbed")
    start(request, undisturbed)
    monkeypatch.setattr("samunet.training.trainer.ITERATIONS_PER_EPOCH", 3)
    with monkeypatch.context() as patch:
        patch.setattr("samunet.training.trainer.save_latest", lambda *given: (save_latest(*given), 1 / 0))
        with pytest.raises(ZeroDivisionError):
            start(request, paths)
    start(request, paths, must_continue=True)
    continued, other = (next(model(each, request.variant).rglob("checkpoint_final.safetensors"))
                        for each in (paths, undisturbed))
    assert continued.read_bytes() == other.read_bytes()
    return continued


@pytest.mark.parametrize("variant", ["hybrid_off", "hybrid"])
def test_volumes_planned_for_voxels_resume_to_the_same_bytes(variant: str, paths, tmp_path, monkeypatch) -> None:
    planned = replanned(paths, tmp_path / "planned", "hybrid", **SMALL)
    request = dataclasses.replace(REQUEST, variant=variant, iterations=4)
    weights = load_file(trained_twice(request, planned, tmp_path, monkeypatch))
    channels = 1 if variant == "hybrid_off" else 3  # the image's, and one for each of two classes
    first = next(tensor for name, tensor in weights.items() if name.endswith("encoder.0.convs.0.conv.weight"))
    assert first.shape[1] == 4 * channels


@pytest.mark.parametrize(("variant", "settings"),
                         [(name, {}) for name in ("fewshot", "hybrid", "hybrid_off", "hybrid_augment",
                                                  "hybrid_selftrain", "unet", "unet_simclr", "autosam_full", "lora",
                                                  "3d_adapter")]
                         + [("hybrid", {"embeddings": "on"}), ("hybrid_off", {"augmentation": "free"})])
def test_networks_resume_to_the_same_bytes_and_predict_what_they_validated(variant: str, settings, paths, tmp_path,
                                                                           monkeypatch) -> None:
    trained_twice(dataclasses.replace(REQUEST, variant=variant, settings=settings, iterations=4), paths, tmp_path,
                  monkeypatch)
    assert not list(model(paths, variant).rglob("checkpoint_latest*"))
    loaded = load_model(model(paths, variant), None, torch.device("cpu"))
    predict_folder(loaded, paths.raw / "Dataset005_Made" / "imagesTr", tmp_path / "predicted", PredictionSettings())
    predicted, validated = (sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "c1.nii.gz")))
                            for folder in (tmp_path / "predicted", model(paths, variant) / "fold_0" / "validation"))
    np.testing.assert_array_equal(predicted, validated)


def test_a_teacher_goes_on_where_it_was(paths, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("samunet.variants.hybrid_teacher.LABELLED_ITERATIONS", 1)
    request = dataclasses.replace(REQUEST, variant="hybrid_teacher", iterations=6, shots=1)
    weights = load_file(trained_twice(request, paths, tmp_path, monkeypatch))
    monkeypatch.setattr("samunet.variants.hybrid_teacher.LABELLED_ITERATIONS", 6)
    other = dataclasses.replace(paths, results=tmp_path / "without")
    start(request, other)
    alone = load_file(next(other.results.rglob("checkpoint_final.safetensors")))
    assert weights.keys() == alone.keys() and any((weights[name] != alone[name]).any() for name in weights)


@pytest.mark.slow
def test_three_hybrid_runs_that_register_again_give_the_same_bytes(paths, tmp_path) -> None:
    before, seen = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads(), set()
    try:
        for threads in (1, 2, 4):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
            fresh = dataclasses.replace(paths, results=tmp_path / f"results_{threads}")
            start(dataclasses.replace(REQUEST, variant="hybrid", iterations=2, shots=2), fresh)
            fold = model(fresh, "hybrid") / "shots2_draw0" / "fold_0"
            seen.add(tuple((fold / name).read_bytes()
                           for name in ("checkpoint_final.safetensors", "validation/c1.nii.gz")))
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
    monkeypatch.setattr(HybridVariant, "prior",
                        lambda *given: carried.append(given[1].properties.name) or prior(*given))
    start(request, paths, must_continue=True)
    assert set(carried) == {"c1", "d1"}  # to be validated


def test_of_a_single_case_hybrid_has_a_view_where_the_plan_has_room_for_none(paths, tmp_path, capsys) -> None:
    request = dataclasses.replace(REQUEST, variant="hybrid", iterations=1, shots=1)
    start(request, of_budget(0, paths, tmp_path / "preprocessed"))
    assert read_json(model(paths, "hybrid") / "shots1_draw0" / "fold_0" / "run.json")["views"] == 1
    assert "no room for a view of the only training case" in capsys.readouterr().err


@pytest.mark.parametrize(("pictures", "views", "transported"), [(9, 1, 0), (27, 3, 1)])
def test_hybrid_augment_reports_how_many_views_are_transported(paths, tmp_path, capsys, pictures, views,
                                                             transported) -> None:
    """Three cases of three slices, a picture each; every second view is carried."""
    start(dataclasses.replace(REQUEST, variant="hybrid_augment", settings={"embeddings": "on"}, iterations=1),
          of_budget(pictures, paths, tmp_path / "preprocessed"))
    run = read_json(model(paths, "hybrid_augment") / "fold_0" / "run.json")
    assert (run["views"], run["transported_views"]) == (views, transported)
    assert ("trains as hybrid_off does" in capsys.readouterr().err) == (transported == 0)
    cached = [path.stem for path in (tmp_path / "preprocessed").rglob("a1__view*.npy")]
    assert len(cached) == views and sum(name.startswith("a1__view102_") for name in cached) == transported


@pytest.mark.parametrize(("variant", "fast"), [("linear_head", True), ("lora", False)])
def test_weights_that_are_trained_or_added_to_are_never_rounded(variant: str, fast: bool, paths, monkeypatch) -> None:
    asked = []
    for module in ("samunet.training.experiment", "samunet.inference.recorded_encoder"):
        monkeypatch.setattr(f"{module}.load_encoder", lambda *given,
                            **named: asked.append(named["fast"]) or load_encoder(*given, **named))
    start(dataclasses.replace(REQUEST, variant=variant, iterations=1), paths)
    load_model(model(paths, variant), None, torch.device("cpu"))
    assert asked == [fast, fast]


def test_3d_adapters_have_an_input_of_their_own(paths) -> None:
    for variant in ("3d_adapter", "lora"):
        start(dataclasses.replace(REQUEST, variant=variant, iterations=1), paths)
    sections = [read_json(model(paths, variant) / "plans.json")["encoders"]["untrained"]["embeddings"]
                for variant in ("3d_adapter", "lora")]
    assert [section["input_size"] for section in sections] == [16, 32]
    loaded = load_model(model(paths, "3d_adapter"), None, torch.device("cpu"))
    assert loaded.variants[0].context.encoder_plan.input_size == 16
    assert loaded.variants[0].network.encoder.encoder.pos_embed.shape[1:3] == (1, 1)


def test_in_context_trains_nothing_whatever_the_length(paths) -> None:
    start(dataclasses.replace(REQUEST, variant="in_context", iterations=None, minutes=3.0), paths)
    folder = model(paths, "in_context") / "fold_0"
    run, weights = read_json(folder / "run.json"), load_file(folder / "checkpoint_final.safetensors")
    assert (run["settings"]["iterations"], run["settings"]["minutes"]) == (0, None)
    decoder = {name: tensor for name, tensor in untrained_state().items() if name.startswith("mask_decoder.")}
    assert decoder and all(np.array_equal(weights[name.replace("mask_decoder", "decoder")], tensor.numpy())
                           for name, tensor in decoder.items())
    scores = run["tokens"]["left_out_dice"]
    assert list(scores) == ["mean", "clusters", "farthest"] and run["tokens"]["rule"] == max(scores,
                                                                                             key=scores.__getitem__)
    assert weights["content"].shape[1:] == (2, 2 if run["tokens"]["rule"] == "mean" else 8, 256)
    assert set(weights["units"].tolist()) == {0, 1, 2}
    assert len(read_json(folder / "validation" / "summary.json")["metric_per_case"]) == 2
