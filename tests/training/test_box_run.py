"""3d_adapter_box from end to end on the tiny dataset: an oracle, and the same boxes from files in both spaces."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json
from samunet.inference.model_folder import load_model
from samunet.inference.predict_folder import PredictionSettings, predict_folder
from samunet.interaction.session import Session
from samunet.training.run import train_model
from samunet.training.settings import Request

REQUEST = Request("5", "3d_adapter_box", "0", "untrained", "tiny", iterations=2, oracle_prompts="box3d", box_relax=25.0)
# By hand: `a` covers slices 1 and 2, rows 6 to 17 and columns 5 to 14, `b` slice 2, rows 8 to 11 and columns 7 to 10. A
# quarter of 2, 12, 10 and of 1, 4, 4 on each side; images end after 3 slices.
A, B = ([2.5, 3.0, 0.5], [17.5, 21.0, 3.0]), ([6.0, 7.0, 1.75], [12.0, 13.0, 3.0])


@pytest.fixture(scope="module")
def oracle(prepared: Path, tmp_path_factory) -> Paths:
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path_factory.mktemp("boxes"))
    train_model(REQUEST, paths, must_continue=False, workers=1)
    return paths


def fold(paths: Paths) -> Path:
    return paths.results / "Dataset005_Made" / "3d_adapter_box__tiny__untrained" / "fold_0"


def prompts_file(folder: Path, space: str, **more: list) -> Path:
    """The oracle's boxes; a voxel's box holds its first and last voxel whole, and voxels are 1 mm from the origin on.
    """
    cases = {}
    for name in ("a1", "a2", "b1", "b2", "c1", "d1"):
        cases[name] = {}
        for label, (low, high) in (("a", A), ("b", B)):
            ends = ((np.array(low), np.array(high) - 1) if space == "voxel"
                    else (np.array(low) - 0.5, np.array(high) - 0.5))
            cases[name][label] = {"boxes": [{"min": ends[0].tolist(), "max": ends[1].tolist()}], **more}
    path = folder / f"{space}.json"
    path.write_text(json.dumps({"space": space, "cases": cases}))
    return path


def test_the_run_says_what_it_was_told(oracle: Paths) -> None:
    run = read_json(fold(oracle) / "run.json")
    assert run["settings"]["oracle_prompts"] == "box3d" and run["settings"]["box_relax"] == 25.0
    assert run["trainable_parameters"] > 10**6
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(fold(oracle) / "validation" / "c1.nii.gz")))
    assert not (found[:2] == 2).any()  # nobody asks for `b` there; slice 0 is reached by the relaxed box of `a`


@pytest.mark.parametrize("space", ["voxel", "world_mm"])
def test_the_same_boxes_from_a_file_give_the_same_segmentations(oracle, prepared, tmp_path, space) -> None:
    model = load_model(fold(oracle).parent, None, torch.device("cpu"))
    images = prepared / "raw" / "Dataset005_Made" / "imagesTr"
    predict_folder(model, images, tmp_path / "out", PredictionSettings(prompts=prompts_file(tmp_path, space)))
    for name in ("c1", "d1"):
        assert (tmp_path / "out" / f"{name}.nii.gz").read_bytes() == (fold(oracle) / "validation"
                                                                      / f"{name}.nii.gz").read_bytes()


def test_points_are_refused_before_any_work(oracle, prepared, tmp_path) -> None:
    with pytest.raises(UserError, match=r"(?s)boxes, masks alone.*--oracle_prompts.*points"):
        dataclasses.replace(REQUEST, oracle_prompts="point", box_relax=None)
    model = load_model(fold(oracle).parent, None, torch.device("cpu"))
    images = prepared / "raw" / "Dataset005_Made" / "imagesTr"
    with pytest.raises(UserError, match=r"(?s)boxes, masks alone.*voxel.json.*points"):
        predict_folder(model, images, tmp_path / "out",
                       PredictionSettings(prompts=prompts_file(tmp_path, "voxel", points=[[1, 1, 1]])))
    negative = prompts_file(tmp_path, "voxel", points=[{"at": [1, 1, 1], "positive": False}])
    with pytest.raises(UserError, match=r"(?s)boxes, masks alone.*voxel.json.*negative points"):
        predict_folder(model, images, tmp_path / "out", PredictionSettings(prompts=negative))
    assert not (tmp_path / "out").exists()


def test_a_session_gives_the_same_segmentation_and_keeps_what_no_box_reaches(oracle, prepared) -> None:
    session = Session(fold(oracle).parent, device="cpu")
    session.set_image(prepared / "raw" / "Dataset005_Made" / "imagesTr" / "c1_0000.nii.gz")
    with pytest.raises(UserError, match=r"(?s)boxes, masks alone.*prompt of a.*found: points"):
        session.add_point((1, 8, 9), "a")
    for label, (low, high) in (("a", A), ("b", B)):
        session.add_box(low[::-1], (np.array(high) - 1)[::-1], label)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(fold(oracle) / "validation" / "c1.nii.gz")))
    np.testing.assert_array_equal(session.mask, found)
    start = np.zeros(found.shape, np.uint8)
    start[0, 2:5], start[2, 20:25, 20:25] = 1, 2
    session.set_mask(start)
    session.add_box((2, 2, 2), (2, 9, 9), "a")
    assert (session.mask[:2] == start[:2]).all() and session.mask[2].any()
