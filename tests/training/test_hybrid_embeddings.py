"""`hybrid` with and without embeddings: what a run reads, records, and how earlier runs are opened."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from whole_runs import REQUEST, model, of_budget, start

from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json, write_json
from samunet.inference.model_folder import load_model
from samunet.networks.checkpoints import released
from samunet.networks.start import canonical_network, start_of
from samunet.training.run import validate_model
from samunet.variants import hybrid_off

HYBRID = dataclasses.replace(REQUEST, variant="hybrid_off", iterations=1)


def without_cache(paths: Paths, folder) -> Paths:
    """The same, with room for three views of each case and no cached embeddings."""
    return of_budget(27, paths, folder / "preprocessed")


def test_auto_encodes_nothing_and_has_no_views(paths, tmp_path) -> None:
    paths = without_cache(paths, tmp_path)
    start(HYBRID, paths)
    fold = model(paths, "hybrid_off") / "fold_0"
    run = read_json(fold / "run.json")
    assert run["settings"]["variant_settings"]["embeddings"] == "off" and run["views"] == 0
    assert not list(paths.preprocessed.rglob("embeddings"))
    weights = load_file(fold / "checkpoint_final.safetensors")
    assert not [name for name in weights if name.startswith(("project", "join"))]


def test_on_encodes_cases_and_views(paths, tmp_path) -> None:
    paths = without_cache(paths, tmp_path)
    start(dataclasses.replace(HYBRID, settings={"embeddings": "on"}), paths)
    fold = model(paths, "hybrid_off") / "fold_0"
    assert read_json(fold / "run.json")["views"] == 3
    assert len(list(paths.preprocessed.rglob("a1__view*.npy"))) == 3
    assert load_file(fold / "checkpoint_final.safetensors")["project.0.weight"].shape[1] == 256


def test_a_run_from_before_the_setting_is_opened_as_it_was_trained(paths) -> None:
    start(dataclasses.replace(HYBRID, settings={"embeddings": "on"}), paths)
    folder = model(paths, "hybrid_off")
    run = read_json(folder / "fold_0" / "run.json")
    del run["settings"]["variant_settings"]["embeddings"]
    write_json(folder / "fold_0" / "run.json", run)
    run["settings"]["changed_settings"] = None  # of its defaults then
    write_json(folder / "fold_0" / "run.json", run)
    (variant,) = load_model(folder, None, torch.device("cpu")).variants
    assert variant.reads_embeddings
    validate_model(HYBRID, paths, workers=1)
    run["settings"]["variant_settings"]["embeddings"] = "off"  # whose network has no weights for them
    write_json(folder / "fold_0" / "run.json", run)
    with pytest.raises(UserError):
        load_model(folder, None, torch.device("cpu"))


def test_free_augmentation_of_embeddings_and_a_missing_start_are_refused(paths, tmp_path, monkeypatch) -> None:
    with pytest.raises(UserError, match="must go without embeddings"):
        start(dataclasses.replace(HYBRID, settings={"embeddings": "on", "augmentation": "free"}), paths)
    monkeypatch.setattr(released, "_weights", tmp_path.joinpath)
    with pytest.raises(UserError, match="start=pretrained needs the weights"):
        start(dataclasses.replace(HYBRID, settings={"start": "pretrained"}), paths)
    assert not model(paths, "hybrid_off").exists()


def test_a_pretrained_start_segments_before_it_has_learned(paths, tmp_path, monkeypatch) -> None:
    """At a rate of nearly 0 the weights are those of the start, and the head is the fitted one."""
    torch.manual_seed(0)
    network = canonical_network()
    file = tmp_path / "start.safetensors"
    save_file({name: tensor.detach().contiguous() for name, tensor in start_of(network).items()}, file)
    monkeypatch.setattr(hybrid_off, "start_path", lambda: file)
    settings = {"start": "pretrained", "learning_rate": 1e-9, "weight_decay": 0.0}
    start(dataclasses.replace(HYBRID, settings=settings), paths)
    fold = model(paths, "hybrid_off") / "fold_0"
    weights = load_file(fold / "checkpoint_final.safetensors")
    deepest = f"encoder.{max(int(name.split('.')[1]) for name in weights if name.startswith('encoder'))}."
    known = next(name for name in weights if name.startswith(deepest) and name.endswith("norm.weight"))
    np.testing.assert_allclose(weights[known], network.state_dict()[known].numpy(), atol=1e-6)
    # The untrained features of a bright organ are enough for a linear head.
    others = dataclasses.replace(paths, results=tmp_path / "others")
    start(dataclasses.replace(HYBRID, settings={**settings, "start": "random"}), others)
    fitted, guessed = (read_json(model(each, "hybrid_off") / "fold_0" / "validation" / "summary.json")
                       for each in (paths, others))
    assert fitted["foreground_mean"]["Dice"] > guessed["foreground_mean"]["Dice"] + 0.1
