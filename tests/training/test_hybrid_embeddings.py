"""`hybrid` with and without embeddings: what a run reads, records, and how earlier runs are opened."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from safetensors.numpy import load_file
from whole_runs import REQUEST, model, of_budget, start

from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json, write_json
from samunet.inference.model_folder import load_model

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
    (variant,) = load_model(folder, None, torch.device("cpu")).variants
    assert variant.reads_embeddings
    run["settings"]["variant_settings"]["embeddings"] = "off"  # whose network has no weights for them
    write_json(folder / "fold_0" / "run.json", run)
    with pytest.raises(UserError):
        load_model(folder, None, torch.device("cpu"))
