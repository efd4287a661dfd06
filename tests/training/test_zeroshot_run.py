"""sam_zeroshot from end to end on the tiny dataset: oracle prompts, the same prompts from a file, and what is refused.
"""

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
from samunet.training.run import train_model, validate_model
from samunet.training.settings import Request

REQUEST = Request("5", "sam_zeroshot", "0", "untrained", "tiny", oracle_prompts="slice_box")
# By hand: `a` covers rows 6 to 17 and columns 5 to 14 of slices 1 and 2, `b` rows 8 to 11 and columns 7 to 10 of slice
# 2.
A, B = ([5, 6], [14, 17]), ([7, 8], [10, 11])


@pytest.fixture(scope="module")
def oracle(prepared: Path, tmp_path_factory) -> Paths:
    """Where a run by the oracle's slice boxes lies."""
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path_factory.mktemp("oracle"))
    train_model(REQUEST, paths, must_continue=False, workers=1)
    return paths


def fold(paths: Paths) -> Path:
    return paths.results / "Dataset005_Made" / "sam_zeroshot__tiny__untrained" / "fold_0"


def segmentation(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def box(ends: tuple[list[int], list[int]], first: float, last: float, half: float = 0.0) -> dict:
    return {"min": [*(value - half for value in ends[0]), first - half],
            "max": [*(value + half for value in ends[1]), last + half]}


def prompts_file(folder: Path, space: str = "voxel", names: tuple[str, ...] = ("c1", "d1")) -> Path:
    """The boxes that the oracle takes from the labels. The files lie at the origin with voxels of 1 mm."""
    half = 0.0 if space == "voxel" else 0.5
    case = {"a": {"boxes": [box(A, 1, 1, half), box(A, 2, 2, half)]}, "b": {"boxes": [box(B, 2, 2, half)]}}
    path = folder / "prompts.json"
    path.write_text(json.dumps({"space": space, "cases": dict.fromkeys(names, case)}))
    return path


def test_an_oracle_run_trains_nothing_and_says_what_it_is(oracle: Paths) -> None:
    run = read_json(fold(oracle) / "run.json")
    assert run["settings"]["oracle_prompts"] == "slice_box" and run["settings"]["prompts"] is None
    assert run["settings"]["iterations"] == 0 == run["trainable_parameters"] and len(run["encoder"]["digest"]) == 64
    found = segmentation(fold(oracle) / "validation" / "c1.nii.gz")
    inside = np.zeros(found.shape, bool)
    inside[1:3, 6:18, 5:15] = True  # where nobody asks, and outside the boxes, nothing is
    assert not found[~inside].any() and set(np.unique(found)) == {0, 1, 2} and not (found[1] == 2).any()
    metrics = read_json(fold(oracle) / "validation" / "summary.json")["metric_per_case"][0]["metrics"]
    assert metrics["2"]["n_ref"] == 16 and metrics["1"]["n_pred"] == (found == 1).sum()


def test_a_class_that_is_asked_for_alone_lies_in_its_box(prepared, tmp_path) -> None:
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")
    prompts, case = tmp_path / "prompts.json", {"b": {"boxes": [box(B, 2, 2)]}}
    prompts.write_text(json.dumps({"space": "voxel", "cases": {"c1": case, "d1": case}}))
    train_model(dataclasses.replace(REQUEST, oracle_prompts=None, prompts=prompts), paths, must_continue=False,
                workers=1)
    found = segmentation(fold(paths) / "validation" / "c1.nii.gz")
    inside = np.zeros(found.shape, bool)
    inside[2, 8:12, 7:11] = True
    assert (found == 2).any() and not found[~inside].any() and not (found == 1).any()


@pytest.mark.parametrize("space", ["voxel", "world_mm"])
def test_the_same_boxes_from_a_file_give_the_same_segmentations(oracle, prepared, tmp_path, space) -> None:
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")
    request = dataclasses.replace(REQUEST, oracle_prompts=None, prompts=prompts_file(tmp_path, space))
    train_model(request, paths, must_continue=False, workers=1)
    for name in ("c1", "d1"):
        assert (fold(paths) / "validation" / f"{name}.nii.gz").read_bytes() == (
            fold(oracle) / "validation" / f"{name}.nii.gz").read_bytes()
    settings = read_json(fold(paths) / "run.json")["settings"]
    assert settings["oracle_prompts"] is None and len(settings["prompts"]) == 64


def test_predicting_with_a_file_equals_validating_and_needs_one(oracle, tmp_path, prepared) -> None:
    model = load_model(fold(oracle).parent, None, torch.device("cpu"))
    images = prepared / "raw" / "Dataset005_Made" / "imagesTr"
    with pytest.raises(UserError, match="(?s)needs some.*--prompts"):
        predict_folder(model, images, tmp_path / "out", PredictionSettings())
    with pytest.raises(UserError, match="(?s)every case.*a1, a2, b1, b2"):
        predict_folder(model, images, tmp_path / "out", PredictionSettings(prompts=prompts_file(tmp_path)))
    assert not list((tmp_path).glob("out/*.nii.gz"))
    names = ("a1", "a2", "b1", "b2", "c1", "d1")
    settings = PredictionSettings(prompts=prompts_file(tmp_path, names=names))
    assert predict_folder(model, images, tmp_path / "out", settings) == 6
    for name in ("c1", "d1"):
        np.testing.assert_array_equal(segmentation(tmp_path / "out" / f"{name}.nii.gz"),
                                      segmentation(fold(oracle) / "validation" / f"{name}.nii.gz"))
    assert read_json(tmp_path / "out" / "predict_from_raw_data_args.json")["prompts"] == str(settings.prompts)


def test_other_prompts_are_another_run_and_not_validated_as_the_old_one(oracle, prepared, tmp_path) -> None:
    point = dataclasses.replace(REQUEST, oracle_prompts="point")
    with pytest.raises(UserError, match="oracle_prompts: slice_box there, point here"):
        train_model(point, oracle, must_continue=True, workers=1)
    with pytest.raises(UserError, match="oracle_prompts: slice_box there, point here"):
        validate_model(point, oracle, workers=1)


@pytest.mark.parametrize("kind", ["point", "points10", "box3d"])
def test_the_result_line_says_oracle(prepared, tmp_path, kind) -> None:
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")
    run = train_model(dataclasses.replace(REQUEST, oracle_prompts=kind), paths, must_continue=False, workers=1)
    assert run.text.endswith(f"(oracle {kind})")


def test_bad_prompts_are_told_before_any_work(prepared, tmp_path) -> None:
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")
    request = dataclasses.replace(REQUEST, oracle_prompts=None, prompts=prompts_file(tmp_path, names=("c1",)))
    with pytest.raises(UserError, match="(?s)every case.*d1"):
        train_model(request, paths, must_continue=False, workers=1)
    assert not paths.results.exists()
