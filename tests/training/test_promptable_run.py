"""3d_promptable from end to end on the tiny dataset: an oracle, prompts from a file without any label, a session."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from samunet.dataset.paths import Paths
from samunet.files import read_json
from samunet.inference.model_folder import load_model
from samunet.inference.predict_folder import PredictionSettings, predict_folder
from samunet.interaction.session import Session
from samunet.training.run import train_model
from samunet.training.settings import Request

REQUEST = Request("5", "3d_promptable", "0", "untrained", "tiny", iterations=2, oracle_prompts="box3d",
                  settings={"rounds": 2})


@pytest.fixture(scope="module")
def oracle(prepared: Path, tmp_path_factory) -> Paths:
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path_factory.mktemp("promptable"))
    train_model(REQUEST, paths, must_continue=False, workers=1)
    return paths


def model_folder(paths: Paths) -> Path:
    return paths.results / "Dataset005_Made" / "3d_promptable__tiny__untrained"


def array(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_the_rule_of_patches_is_stored_with_the_model(oracle: Paths) -> None:
    # The plans have no section: 4 x 32 x 32 voxels of 1 mm are 2 x 16 x 16 = 512 tokens of 2, all in one patch.
    section = read_json(model_folder(oracle) / "plans.json")["encoders"]["untrained"]["patches_3d"]
    assert section["token"] == [2, 2, 2] and section["shape"] == [4, 32, 32] and section["batch_size"] == 1
    run = read_json(model_folder(oracle) / "fold_0" / "run.json")
    assert run["settings"]["oracle_prompts"] == "box3d" and run["settings"]["changed_settings"] == {"rounds": 2}
    statistics = read_json(model_folder(oracle) / "fold_0" / "label_statistics.json")
    assert statistics["voxels_per_token"] == 2


def test_the_same_boxes_from_a_file_give_the_same_segmentations_and_no_prompts_an_empty_one(
    oracle: Paths, prepared: Path, tmp_path: Path
) -> None:
    # Tight boxes as a file says them, of the first and the last voxel (x, y, z); `a2` has a negative click alone.
    a, b = {"min": [5, 6, 1], "max": [14, 17, 2]}, {"min": [7, 8, 2], "max": [10, 11, 2]}
    cases: dict = {name: {"a": {"boxes": [a]}, "b": {"boxes": [b]}} for name in ("b1", "b2", "c1", "d1")}
    cases |= {"a1": {}, "a2": {"a": {"points": [{"at": [9, 9, 1], "positive": False}]}}}
    prompts = tmp_path / "prompts.json"
    prompts.write_text(json.dumps({"space": "voxel", "cases": cases}))
    model = load_model(model_folder(oracle), None, torch.device("cpu"))
    predict_folder(model, prepared / "raw" / "Dataset005_Made" / "imagesTr", tmp_path / "out",
                   PredictionSettings(prompts=prompts))
    for name in ("c1", "d1"):
        assert (tmp_path / "out" / f"{name}.nii.gz").read_bytes() == (
            model_folder(oracle) / "fold_0" / "validation" / f"{name}.nii.gz").read_bytes()
    assert not array(tmp_path / "out" / "a1.nii.gz").any() and not array(tmp_path / "out" / "a2.nii.gz").any()


def test_a_session_answers_clicks_and_changes_only_what_they_say(oracle: Paths, prepared: Path) -> None:
    session = Session(model_folder(oracle), device="cpu")
    session.set_image(prepared / "raw" / "Dataset005_Made" / "imagesTr" / "c1_0000.nii.gz")
    start = np.zeros((3, 30, 28), np.uint8)
    start[0, 2:5, 2:5], start[2, 20:26, 20:26] = 1, 1
    session.set_mask(start)
    session.add_point((0, 3, 3), "a", positive=False)
    assert not session.mask[0].any() and np.array_equal(session.mask[2], start[2])  # the smaller part is gone, whole
    session.undo()
    assert np.array_equal(session.mask, start)
    session.add_point((1, 10, 9), "b")
    assert session.mask[1, 10, 9] == 2  # what was clicked


def test_a_saved_session_answers_the_next_click_as_if_it_had_not_been_closed(
    oracle: Paths, prepared: Path, tmp_path: Path
) -> None:
    session = Session(model_folder(oracle), device="cpu")
    session.set_image(prepared / "raw" / "Dataset005_Made" / "imagesTr" / "c1_0000.nii.gz")
    for place, label in (((1, 10, 9), "a"), ((2, 9, 8), "b"), ((0, 20, 20), "a")):
        session.add_point(place, label)
    session.save(tmp_path / "s.json")
    session.add_point((1, 10, 12), "a", positive=False)
    again = Session.load(tmp_path / "s.json", device="cpu")
    again.add_point((1, 10, 12), "a", positive=False)
    assert again.mask.any() and np.array_equal(again.mask, session.mask) and again.changed == session.changed
    # A click that is undone and given again does the same again.
    session.undo()
    session.add_point((1, 10, 12), "a", positive=False)
    assert np.array_equal(again.mask, session.mask)
