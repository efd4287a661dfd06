"""Support by a file, in training and added afterwards, on the tiny dataset."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from safetensors.torch import load_file

from samunet.cli import add_support as command
from samunet.dataset.labels import LabelSpace
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import digest_of_file, read_json, write_json
from samunet.inference.model_folder import load_model
from samunet.inference.predict_folder import PredictionSettings, predict_folder
from samunet.networks.prompts import BACKGROUND, FOREGROUND, NO_POINT
from samunet.networks.region_tokens import RULES, TOKENS
from samunet.preprocessing.store import ArrayStore
from samunet.training.added_support import add_support
from samunet.training.run import train_model
from samunet.training.settings import Request
from samunet.training.support_file import read_support

# The tiny dataset's cases show class `a` on slices 1 and 2 and `b` on slice 2 alone.
REQUEST = Request("5", "in_context", "0", "untrained", "tiny", validate=False)
SPACE = LabelSpace({"background": 0, "a": 1, "b": 2})


def written(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


def model_of(paths: Paths) -> Path:
    return paths.results / "Dataset005_Made" / "in_context__tiny__untrained"


@pytest.fixture(scope="module")
def trained(prepared: Path, tmp_path_factory) -> Paths:
    """A model that is asked by two slices of a file, which is gone."""
    root = tmp_path_factory.mktemp("support")
    paths = Paths(prepared / "raw", prepared / "preprocessed", root / "results")
    file = written(root / "support.json", {"b1": [2], "a1": [1]})
    with pytest.MonkeyPatch.context() as patch:  # a tie, whatever random weights make of the support
        patch.setattr("samunet.variants.token_choice.left_out_dice", lambda *_: 0.5)
        train_model(replace(REQUEST, support=file), paths, must_continue=False, workers=1)
    run = read_json(model_of(paths) / "fold_0" / "run.json")
    assert run["settings"]["support"] == digest_of_file(file)
    assert run["tokens"] == {"rule": "mean", "left_out_dice": dict.fromkeys(RULES, 0.5)}
    file.unlink()
    return paths


def test_the_named_slices_ask(trained: Paths) -> None:
    assert read_json(model_of(trained) / "fold_0" / "run.json")["support"] == {"a1": [1], "b1": [2]}
    state = load_file(model_of(trained) / "fold_0" / "checkpoint_final.safetensors")
    assert state["kinds"].shape == (2, 2, 2) and state["units"].tolist() == [0, 1]
    # `b` is smaller than a quarter of a cell, even where it is: no token of it, whose rest asks alone.
    assert state["kinds"][:, 0].tolist() == [[FOREGROUND, BACKGROUND]] * 2 and state["kinds"][:, 1].tolist() == [
        [NO_POINT, BACKGROUND]] * 2
    # a1's slice 1 shows no `b`, so the rest is the whole picture.
    cached = np.load(trained.preprocessed / "Dataset005_Made" / "tiny" / "embeddings" / "untrained" / "a1.npy")
    np.testing.assert_allclose(state["content"][0, 1, 1], cached[1, 0].astype(np.float32).mean((1, 2)), atol=1e-4)


def test_added_slices_ask_behind_the_old_ones_and_all_else_is_kept(
    trained: Paths, prepared: Path, tmp_path: Path
) -> None:
    old = load_file(model_of(trained) / "fold_0" / "checkpoint_final.safetensors")
    before = digest_of_file(model_of(trained) / "fold_0" / "checkpoint_final.safetensors")
    folders = [word for name in ("raw", "preprocessed", "results")
               for word in (f"--{name}", str(getattr(trained, name)))]
    for number, (model, content) in enumerate([(model_of(trained), {"c1": [2]}),
                                               (tmp_path / "0", {"a1": [2], "c1": [1]})]):
        file = written(tmp_path / f"{number}.json", content)
        assert command.main(["-m", str(model), "--support", str(file), "-o", str(tmp_path / str(number)),
                             *folders]) == 0
    once, twice = (load_file(tmp_path / name / "fold_0" / "checkpoint_final.safetensors") for name in "01")
    assert [len(state["content"]) for state in (old, once, twice)] == [2, 3, 5]
    for state in (once, twice):
        torch.testing.assert_close(state["content"][:2], old["content"])
        assert all(torch.equal(state[name], old[name]) for name in old if name.startswith("decoder."))
        assert not torch.allclose(state["weight"][-1], old["weight"][-1])  # the guess is made from all
    # As if all had been named from the start, in whatever order tokens stand: the decoder has no order.
    file = written(tmp_path / "all.json", {"a1": [1, 2], "b1": [2]})
    other = Paths(trained.raw, trained.preprocessed, tmp_path / "results")
    train_model(replace(REQUEST, support=file), other, must_continue=False, workers=1)
    add_support(model_of(other), "0", written(tmp_path / "c1.json", {"c1": [1, 2]}), tmp_path / "other", trained, "cpu")
    whole = load_file(tmp_path / "other" / "fold_0" / "checkpoint_final.safetensors")
    torch.testing.assert_close(whole["weight"][-1], twice["weight"][-1], rtol=1e-3, atol=1e-3)
    run = read_json(tmp_path / "1" / "fold_0" / "run.json")
    assert run["added_support"] == {"a1": [2], "c1": [1, 2]} and run["added_to"] == str(tmp_path / "0")
    assert digest_of_file(model_of(trained) / "fold_0" / "checkpoint_final.safetensors") == before
    assert not (tmp_path / "1" / "fold_0" / "validation").exists()
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(prepared / "raw" / "Dataset005_Made" / "imagesTr" / "d1_0000.nii.gz", images)
    assert predict_folder(load_model(tmp_path / "1", None, torch.device("cpu")), images, tmp_path / "out",
                          PredictionSettings()) == 1
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "d1.nii.gz")))
    assert found.shape == (3, 30, 28) and set(np.unique(found)) <= {0, 1, 2}


def test_added_slices_ask_by_the_rule_that_the_model_has_chosen(trained: Paths, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(model_of(trained), copied)
    run = read_json(copied / "fold_0" / "run.json")
    write_json(copied / "fold_0" / "run.json", {**run, "tokens": {"rule": "farthest", "left_out_dice": {}}})
    add_support(copied, "0", written(tmp_path / "more.json", {"c1": [2]}), tmp_path / "out", trained, "cpu")
    content = load_file(tmp_path / "out" / "fold_0" / "checkpoint_final.safetensors")["content"]
    assert content.shape == (3, 2, 2 * TOKENS, 256)
    assert read_json(tmp_path / "out" / "fold_0" / "run.json")["tokens"]["rule"] == "farthest"
    # Of what is not `b` on c1's slice 2, cells as they are.
    cached = np.load(trained.preprocessed / "Dataset005_Made" / "tiny" / "embeddings" / "untrained" / "c1.npy")
    cells = torch.from_numpy(cached[2, 0].astype(np.float32)).flatten(1).T
    assert all((cells == token).all(1).any() for token in content[2, 1, TOKENS:])
    write_json(copied / "fold_0" / "run.json", {**run, "tokens": {"rule": "medians", "left_out_dice": {}}})
    with pytest.raises(UserError, match="medians"):
        add_support(copied, "0", tmp_path / "more.json", tmp_path / "refused", trained, "cpu")
    assert not (tmp_path / "refused").exists()


def test_the_encoder_is_found_by_its_id_or_where_it_is_said_to_lie_now(trained: Paths, tmp_path: Path) -> None:
    copied, file = tmp_path / "copied", written(tmp_path / "more.json", {"c1": [2]})
    shutil.copytree(model_of(trained), copied)
    run = read_json(copied / "fold_0" / "run.json")
    write_json(copied / "fold_0" / "run.json", {**run, "encoder": {**run["encoder"], "name": "gone.pth"}})
    add_support(copied, "0", file, tmp_path / "by_id", trained, "cpu")
    add_support(copied, "0", file, tmp_path / "by_its_name_then", trained, "cpu", "gone.pth")
    write_json(copied / "fold_0" / "run.json", {**run, "encoder": {**run["encoder"], "id": "gone", "name": "gone.pth"}})
    with pytest.raises(UserError, match="gone.pth"):
        add_support(copied, "0", file, tmp_path / "refused", trained, "cpu")
    add_support(copied, "0", file, tmp_path / "told", trained, "cpu", "untrained")
    by_id, told = (load_file(tmp_path / name / "fold_0" / "checkpoint_final.safetensors") for name in ("by_id", "told"))
    assert all(torch.equal(by_id[name], told[name]) for name in by_id) and not (tmp_path / "refused").exists()


def test_what_a_killed_call_left_does_not_stand_in_the_way(trained: Paths, tmp_path: Path, monkeypatch) -> None:
    file = written(tmp_path / "more.json", {"c1": [2]})
    monkeypatch.setattr("samunet.training.added_support.save_weights", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        add_support(model_of(trained), "0", file, tmp_path / "out", trained, "cpu")
    assert not list((tmp_path / "out").glob("fold_*"))
    monkeypatch.undo()
    add_support(model_of(trained), "0", file, tmp_path / "out", trained, "cpu")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "dataset.json", "dataset_fingerprint.json", "fold_0", "plans.json"]
    assert (tmp_path / "out" / "fold_0" / "run.json").is_file()


@pytest.mark.parametrize(("content", "message"), [
    ({"c1": [0]}, "(?s)show a class.*c1.*0.*slices 1, 2"), ({"b2": [1]}, "(?s)labelled cases.*b2"),
    ({"a1": [1]}, "(?s)not be in the model's support yet.*a1 1"), ({}, "must name a case"),
    ({"c1": [1, 1]}, "each once"),
    ({"c1": ["1"]}, "must name a case"), ([1], "must name a case")])
def test_bad_additions_are_refused_before_anything_is_written(
    trained: Paths, tmp_path: Path, content: object, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        add_support(model_of(trained), "0", written(tmp_path / "more.json", content), tmp_path / "out", trained, "cpu")
    assert not (tmp_path / "out").exists()


def test_other_models_and_places_are_refused(trained: Paths, prepared: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "more.json", {"c1": [2]})
    with pytest.raises(UserError, match="(?s)finished fold.*finished: 0"):
        add_support(model_of(trained), "1", file, tmp_path / "out", trained, "cpu")
    with pytest.raises(UserError, match="new or empty"):
        add_support(model_of(trained), "0", file, model_of(trained), trained, "cpu")
    copied = tmp_path / "copied"
    shutil.copytree(model_of(trained), copied)
    run = read_json(copied / "fold_0" / "run.json")
    write_json(copied / "fold_0" / "run.json", {**run, "settings": {**run["settings"], "data": "other"}})
    with pytest.raises(UserError, match="changed: data"):
        add_support(copied, "0", file, tmp_path / "out", trained, "cpu")
    write_json(copied / "fold_0" / "run.json", {**run, "settings": {**run["settings"], "variant": "cnn_head"}})
    with pytest.raises(UserError, match="(?s)prompted by them.*fewshot, in_context"):
        add_support(copied, "0", file, tmp_path / "out", trained, "cpu")
    assert not (tmp_path / "out").exists()


def test_in_training_only_the_runs_own_cases_may_be_named_and_all_faults_are_told(
    prepared: Path, tmp_path: Path
) -> None:
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")
    file = written(tmp_path / "support.json", {"c1": [1], "a1": [0, 2], "b1": [7]})
    with pytest.raises(UserError, match="(?s)3 problems.*c1.*support.json, a1.*found: 0.*support.json, b1.*found: 7"):
        train_model(replace(REQUEST, support=file), paths, must_continue=False, workers=1)
    assert not paths.results.exists()
    with pytest.raises(UserError, match="(?s)Support slices must be given.*cnn_head"):
        replace(REQUEST, variant="cnn_head", support=file)


def test_slices_stand_in_order(prepared: Path, tmp_path: Path) -> None:
    arrays = ArrayStore(prepared / "preprocessed" / "Dataset005_Made" / "tiny" / "arrays")
    file = written(tmp_path / "support.json", {"c1": [2, 1], "a1": [2]})
    assert list(read_support(file, arrays, ("a1", "c1"), SPACE).items()) == [("a1", (2,)), ("c1", (1, 2))]
