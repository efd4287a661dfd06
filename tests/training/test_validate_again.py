"""`samunet_train --val`: what a finished run is validated with, and what keeps it from that."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json, write_json
from samunet.training import run as run_module
from samunet.training.run import train_model, validate_model
from samunet.training.settings import Request

REQUEST = Request("5", "linear_head", "0", "untrained", "tiny", iterations=60)
PRIOR = dataclasses.replace(REQUEST, variant="label_prior", iterations=None)


@pytest.fixture
def paths(prepared: Path, tmp_path: Path) -> Paths:
    return Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")


def model(paths: Paths, variant: str = "linear_head") -> Path:
    return paths.results / "Dataset005_Made" / f"{variant}__tiny__untrained"


def start(request: Request, paths: Paths) -> None:
    train_model(request, paths, must_continue=False, workers=1)


def test_validating_once_more_with_probabilities(paths) -> None:
    start(REQUEST, paths)
    final = model(paths) / "fold_0"
    before = (final / "validation" / "c1.nii.gz").read_bytes()
    (final / "validation" / "c1.nii.gz").unlink()
    validate_model(dataclasses.replace(REQUEST, probabilities=True), paths, workers=1)
    assert (final / "validation" / "c1.nii.gz").read_bytes() == before
    probabilities = np.load(final / "validation" / "c1.npz")["probabilities"]
    assert probabilities.shape == (3, 3, 30, 28)
    segmentation = sitk.GetArrayFromImage(sitk.ReadImage(str(final / "validation" / "c1.nii.gz")))
    np.testing.assert_array_equal(probabilities.argmax(0), segmentation)
    assert not list(final.glob("validation.*"))


def test_validating_needs_the_encoder_and_the_labels_of_the_training(paths) -> None:
    with pytest.raises(UserError, match="needs a finished run"):
        validate_model(REQUEST, paths, workers=1)
    start(dataclasses.replace(REQUEST, iterations=2), paths)
    run = read_json(model(paths) / "fold_0" / "run.json")
    for name in ("encoder_digest", "labels"):
        write_json(model(paths) / "fold_0" / "run.json", {**run, "settings": {**run["settings"], name: "0" * 64}})
        with pytest.raises(UserError, match=f"found: {name}: 0000"):
            validate_model(REQUEST, paths, workers=1)


def test_cases_that_a_run_was_trained_on_are_not_validated_on(paths, tmp_path) -> None:
    here = dataclasses.replace(paths, preprocessed=Path(shutil.copytree(paths.preprocessed, tmp_path / "preprocessed")))
    for fold in ("0", "all"):
        start(dataclasses.replace(PRIOR, fold=fold), here)
    write_json(here.preprocessed / "Dataset005_Made" / "splits_final.json",
               [{"train": ["a1", "a2", "c1"], "val": ["b1", "d1"]}, {"train": ["b1", "d1"], "val": ["a1", "a2", "c1"]}])
    with pytest.raises(UserError) as caught:
        validate_model(PRIOR, here, workers=1)
    assert caught.value.found.endswith("trained on b1") and "Train it again" in caught.value.mend
    validate_model(dataclasses.replace(PRIOR, fold="all"), here, workers=1)


def test_what_older_runs_did_not_tell_is_taken_to_agree(paths) -> None:
    start(PRIOR, paths)
    path = model(paths, "label_prior") / "fold_0" / "run.json"
    run = read_json(path)
    write_json(path, {**run, "settings": {key: value for key, value in run["settings"].items() if key != "labels"}})
    validate_model(PRIOR, paths, workers=1)


def test_oracle_points_are_those_of_the_run(paths) -> None:
    asked = dataclasses.replace(REQUEST, variant="sam_zeroshot", iterations=None, oracle_prompts="point", seed=5)
    start(asked, paths)
    folder = model(paths, "sam_zeroshot") / "fold_0" / "validation"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    validate_model(dataclasses.replace(asked, seed=0), paths, workers=1)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_predictions_of_other_images_are_not_taken_over_from_a_call_that_was_killed(paths, monkeypatch) -> None:
    start(PRIOR, paths)
    final = model(paths, "label_prior") / "fold_0"
    monkeypatch.setattr(run_module, "validate", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        validate_model(PRIOR, paths, workers=1)
    monkeypatch.undo()
    stale = final / "validation.01234567.unfinished"
    shutil.copytree(final / "validation", stale)
    (stale / "c1.nii.gz").write_bytes((final / "validation" / "d1.nii.gz").read_bytes())
    before = (final / "validation" / "c1.nii.gz").read_bytes()
    validate_model(PRIOR, paths, workers=1)
    assert (final / "validation" / "c1.nii.gz").read_bytes() == before and not list(final.glob("validation.*"))


def test_a_checkpoint_that_is_gone_is_told(paths) -> None:
    start(PRIOR, paths)
    (model(paths, "label_prior") / "fold_0" / "checkpoint_final.safetensors").unlink()
    with pytest.raises(UserError, match="(?s)checkpoint must be whole.*checkpoint_final.safetensors"):
        validate_model(PRIOR, paths, workers=1)
