"""Runs with settings of their variant: recorded, validated, predicted with, and never mixed in one model."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json, write_json
from samunet.inference.model_folder import load_model
from samunet.training.run import train_model, validate_model
from samunet.training.settings import Request

REQUEST = Request("5", "lora", "0", "untrained", "tiny", iterations=1, settings={"rank": 2})


def test_settings_decide_the_network_from_training_to_prediction(prepared: Path, tmp_path: Path) -> None:
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")
    train_model(REQUEST, paths, must_continue=False, workers=1)
    model = paths.results / "Dataset005_Made" / "lora__tiny__untrained"
    settings = read_json(model / "fold_0" / "run.json")["settings"]
    assert settings["changed_settings"] == {"rank": 2}
    assert settings["variant_settings"] == {"learning_rate": 1e-3, "weight_decay": 0.1, "rank": 2}

    (loaded,) = load_model(model, None, torch.device("cpu")).variants
    assert loaded.settings.rank == 2
    validate_model(dataclasses.replace(REQUEST, settings={}), paths, workers=1)
    with pytest.raises(UserError, match="changed_settings"):
        validate_model(dataclasses.replace(REQUEST, settings={"learning_rate": 0.5}), paths, workers=1)

    with pytest.raises(UserError, match=r"(?s)one set.*rank=2 there, default settings here"):
        train_model(dataclasses.replace(REQUEST, settings={}), paths, must_continue=False, workers=1)
    with pytest.raises(UserError, match=r"(?s)All folds.*fold_0 trained with rank=2, and now rank=3"):
        train_model(dataclasses.replace(REQUEST, fold="1", settings={"rank": 3}), paths, must_continue=False, workers=1)

    run = read_json(model / "fold_0" / "run.json")
    run["settings"]["variant_settings"]["rank"] = "two"
    write_json(model / "fold_0" / "run.json", run)
    with pytest.raises(UserError, match=r"(?s)run\.json.*\$\.rank"):
        load_model(model, None, torch.device("cpu"))


def test_a_run_under_version_1_of_the_plans_and_without_recorded_settings_is_the_same_run(
    prepared: Path, tmp_path: Path
) -> None:
    preprocessed = tmp_path / "preprocessed"
    shutil.copytree(prepared / "preprocessed", preprocessed, ignore=shutil.ignore_patterns("embeddings"))
    paths = Paths(prepared / "raw", preprocessed, tmp_path / "results")
    request = dataclasses.replace(REQUEST, variant="unet", settings={})
    plans_file = preprocessed / "Dataset005_Made" / "tiny.json"
    plans = read_json(plans_file)
    section = plans["encoders"]["untrained"]
    adapters = {
        "stack_depth": "slices",
        "stack_input_size": "input_size",
        "stacks": "batch_size",
        "stacks_at_once": "micro_batch",
        "checkpointed": "checkpointed",
        "stack_bytes": "training_bytes",
    }
    old = {**section["embeddings"], **{then: section["adapters"][now] for then, now in adapters.items()}}
    write_json(plans_file, {**plans, "version": 1, "encoders": {"untrained": old}})
    train_model(request, paths, must_continue=False, workers=1)

    record = paths.results / "Dataset005_Made" / "unet__tiny__untrained" / "fold_0" / "run.json"
    run = read_json(record)
    del run["settings"]["variant_settings"], run["settings"]["changed_settings"]
    write_json(record, run)
    write_json(plans_file, plans)  # version 2
    assert "already finished" in train_model(request, paths, must_continue=True, workers=1).text
    write_json(
        record.parents[1] / "plans.json",
        {**read_json(record.parents[1] / "plans.json"), "version": 1, "encoders": {"untrained": old}},
    )
    (loaded,) = load_model(record.parents[1], None, torch.device("cpu")).variants
    assert (loaded.learning_rate, loaded.weight_decay) == (1e-2, 3e-5)
