"""Cases, sessions and the dataset on disk, without a server; with models and without."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.annotation.annotate import AnnotationSettings, new_project, open_cases
from samunet.annotation.assistant import Assistant
from samunet.annotation.cases import Cases
from samunet.annotation.project import project_of
from samunet.annotation.prompts_json import prompts_content
from samunet.annotation.requests import Action, Box, Finish, Point, Redo, Stroke, Undo
from samunet.annotation.source import find_source
from samunet.annotation.uncertainty import most_uncertain_first, uncertainty_of
from samunet.dataset.dataset import load_dataset
from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.files import write_json
from samunet.inference.model_folder import chosen_device, load_model
from samunet.inference.predict_folder import PredictionSettings, predict_folder
from samunet.interaction import actions as recorded
from samunet.interaction.session import Session
from samunet.preprocessing.prompts.positions import voxels_of_file

LABELS = {"a": 1, "b": 2}


def cases_of(images: Path, output: Path, model: Path | None = None, order: str = "name",
             labels: dict[str, int] | None = None) -> Cases:
    loaded = load_model(model, None, chosen_device("cpu")) if model else None
    given = None if model else labels or LABELS
    settings = AnnotationSettings(images, output, model, given, order, "cpu")
    return open_cases(settings, new_project(settings, loaded), loaded)


def act(cases: Cases, case: str, action: Action) -> dict[str, Any]:
    return cases.act(case, action, cases.opened(case).state()["version"])


def read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


STROKE = Stroke([(1, 5, 5), (1, 5, 8)], 0, 0.0, "a")


def test_finished_cases_are_a_dataset_and_others_are_not(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "Dataset501_New"
    cases = cases_of(images, output)
    assert json.loads((output / "dataset.json").read_text()) == {
        "channel_names": {"0": "zscore"}, "labels": {"background": 0, "a": 1, "b": 2}, "file_ending": ".nii.gz",
        "numTraining": 0}
    act(cases, "b1", STROKE)
    assert not list((output / "labelsTr").iterdir()) and not list((output / "imagesTr").iterdir())
    act(cases, "b1", Finish(True))
    (case,) = load_dataset(output).cases
    assert case.name == "b1" and case.images[0].samefile(images / "b1_0000.nii.gz")
    label = read(case.label)
    # the images are RAI as ITK writes them: the display grid is the array's own
    assert label.sum() == 4 and label[1, 5, 5:9].all() and label.dtype == np.uint8
    act(cases, "b1", Undo())  # a finished case stays finished, and its label follows
    assert read(case.label).sum() == 0
    act(cases, "b1", Finish(False))
    assert json.loads((output / "dataset.json").read_text())["numTraining"] == 0
    assert not list((output / "labelsTr").iterdir()) and not list((output / "imagesTr").iterdir())
    assert (images / "b1_0000.nii.gz").is_file()
    act(cases, "b1", Redo())  # the session is still there
    assert (output / "sessions" / "b1" / "session.json").is_file()


def test_every_action_is_on_disk_when_it_is_answered(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    cases = cases_of(images, output)
    for action in (Point((1, 4, 3), "a"), Point((0, 9, 8), "a", False), Box((2, 9, 9), (0, 3, 5), "b"), STROKE):
        act(cases, "a1", action)
        again = cases_of(images, output).opened("a1")
        assert again.session.actions == cases.opened("a1").session.actions
        assert (again.mask() == cases.opened("a1").mask()).all()
    assert json.loads((output / "prompts" / "a1.json").read_text()) == {"space": "voxel", "cases": {"a1": {
        "a": {"points": [[3, 4, 1], {"at": [8, 9, 0], "positive": False}]},
        "b": {"boxes": [{"min": [5, 3, 0], "max": [9, 9, 2]}]}}}}
    state = cases.opened("a1").state()
    assert state["points"][1] == {"place": (0, 9, 8), "label": "a", "positive": False}
    assert state["boxes"] == [{"first": [0, 3, 5], "last": [2, 9, 9], "label": "b"}]
    for name in ("b1", "c1", "a1"):  # more than are open at once
        assert cases.opened(name).state()["undo"] is (name == "a1")


def test_undo_of_a_page_that_is_behind_does_nothing(images: Path, tmp_path: Path) -> None:
    cases = cases_of(images, tmp_path / "out")
    old = cases.opened("a1").state()["version"]
    act(cases, "a1", STROKE)
    assert cases.act("a1", Undo(), old)["refreshed"]
    assert cases.opened("a1").mask().sum() == 4
    state = cases.act("a1", Point((0, 0, 0), "a"), old)  # an addition is never lost
    assert "refreshed" not in state and state["version"] > old
    assert len(cases.opened("a1").session.actions) == 2


def test_pages_that_act_at_once_lose_nothing(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three cases, of which one is open at a time, four threads, 60 points: all are on disk, each once."""
    monkeypatch.setattr("samunet.annotation.cases.MOST_OPEN", 1)
    output = tmp_path / "out"
    cases = cases_of(images, output)
    names = ("a1", "b1", "c1")
    places = [(name, (number % 3, number, number)) for number in range(20) for name in names]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda each: cases.act(each[0], Point(each[1], "a"), 0), places))
    for name in names:
        found = [tuple(action.place) for action in cases_of(images, output).opened(name).session.actions]
        assert sorted(found) == sorted(place for other, place in places if other == name)


def test_classes_of_regions_have_the_values_that_are_painted(images: Path, tmp_path: Path) -> None:
    content = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "whole": [1, 2], "core": [2]},
               "regions_class_order": [1, 2]}
    project = project_of(find_source(images), tmp_path / "out", content)
    assert Cases(project, ["a1"], Assistant(None)).to_json() == {
        "cases": [{"name": "a1", "begun": False, "finished": False}],
        "classes": [{"name": "whole", "value": 1}, {"name": "core", "value": 2}]}


def test_a_refused_action_changes_nothing(images: Path, tmp_path: Path) -> None:
    cases = cases_of(images, tmp_path / "out")
    before = cases.opened("a1").state()
    for action in (Point((3, 0, 0), "a"), Point((0, 0, 0), "c"), Stroke([(0, 0, 0), (1, 0, 0)], 0, 1.0, None)):
        with pytest.raises(UserError):
            act(cases, "a1", action)
    assert cases.opened("a1").state() == before
    assert not (tmp_path / "out" / "sessions" / "a1").exists()


def test_an_action_that_cannot_be_saved_is_taken_back(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    cases = cases_of(images, output)
    act(cases, "a1", STROKE)
    mask = output / "sessions" / "a1" / "session_mask.nii.gz"
    mask.unlink()
    mask.mkdir()
    with pytest.raises(UserError, match="The output place must be writable"):
        act(cases, "a1", Point((0, 0, 0), "a"))
    mask.rmdir()
    assert len(cases.opened("a1").session.actions) == 1 and cases.opened("a1").mask().sum() == 4
    act(cases, "a1", Point((0, 0, 1), "a"))
    assert len(cases_of(images, output).opened("a1").session.actions) == 2


def test_models_and_options_that_do_not_fit(images: Path, tmp_path: Path, models: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="The order `uncertain` needs a model that predicts without prompts"):
        cases_of(images, tmp_path / "out", models["sam_zeroshot"], "uncertain")
    model = load_model(models["label_prior"], None, chosen_device("cpu"))
    with pytest.raises(UserError, match="The labels must be given once"):
        new_project(AnnotationSettings(images, tmp_path / "new", models["label_prior"], LABELS), model)
    regions = replace(model, labels=LabelSpace({"background": 0, "a": (1, 2), "b": (2,)}, (1, 2)))
    with pytest.raises(UserError, match="Regions can be annotated with a model that answers prompts alone"):
        new_project(AnnotationSettings(images, tmp_path / "new", models["label_prior"]), regions)
    assert not (tmp_path / "new").exists()


def test_images_are_copied_where_the_disk_has_no_links(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.link", lambda *_: (_ for _ in ()).throw(OSError(18, "another disk")))
    cases = cases_of(images, tmp_path / "out")
    for _ in range(2):
        act(cases, "a1", Finish(True))
    copy = tmp_path / "out" / "imagesTr" / "a1_0000.nii.gz"
    assert copy.read_bytes() == (images / "a1_0000.nii.gz").read_bytes()
    assert not copy.samefile(images / "a1_0000.nii.gz")


def test_prompts_of_a_turned_array_are_in_the_file_s_voxels() -> None:
    """The reader has reversed x and exchanged y and z; `voxels_of_file` takes the places back."""
    file = Geometry("X", (4, 5, 6), (1.0, 1.0, 1.0), (5.0, 0.0, 0.0), (-1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0))
    turned = Geometry("X", (5, 4, 6), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0),
                      file=file)
    actions = [recorded.Point((1, 2, 3), "a"), recorded.Box((0, 1, 0), (1, 2, 4), "a")]
    content = prompts_content("x", actions, turned)["cases"]["x"]["a"]
    assert content == {"points": [[2, 1, 2]], "boxes": [{"min": [1, 0, 1], "max": [5, 1, 2]}]}
    assert voxels_of_file(np.array(content["points"]), turned).tolist() == [[3, 2, 1]]


def test_what_a_killed_server_left_is_completed(images: Path, tmp_path: Path) -> None:
    """Killed between an image and its label, and between a label and dataset.json."""
    output = tmp_path / "out"
    cases = cases_of(images, output)
    act(cases, "a1", Finish(True))
    (output / "imagesTr" / "b1_0000.nii.gz").hardlink_to(images / "b1_0000.nii.gz")
    content = json.loads((output / "dataset.json").read_text())
    write_json(output / "dataset.json", {**content, "numTraining": 0, "channel_names": {"0": "CT"}})
    cases_of(images, output)
    dataset = load_dataset(output)
    assert [case.name for case in dataset.cases] == ["a1"]
    assert dataset.channel_names == ("CT",)  # corrected by hand


def test_a_promptable_model_answers_clicks(images: Path, tmp_path: Path, models: dict[str, Path]) -> None:
    """As a session on the same file answers them, and as samunet_predict answers the saved prompts."""
    output = tmp_path / "out"
    cases = cases_of(images, output, models["sam_zeroshot"])
    act(cases, "a1", Point((1, 8, 8), "a"))
    act(cases, "a1", Point((1, 3, 3), "a", False))
    act(cases, "a1", Box((0, 4, 4), (2, 20, 20), "b"))
    session = Session(models["sam_zeroshot"], device="cpu")
    session.set_image(images / "a1_0000.nii.gz")
    session.add_point((1, 8, 8), "a")
    session.add_point((1, 3, 3), "a", positive=False)
    session.add_box((0, 4, 4), (2, 20, 20), "b")
    assert session.mask.any()
    np.testing.assert_array_equal(cases.opened("a1").mask(), session.mask)
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "a1_0000.nii.gz").hardlink_to(images / "a1_0000.nii.gz")
    predict_folder(load_model(models["sam_zeroshot"], None, chosen_device("cpu")), alone, tmp_path / "predicted",
                   PredictionSettings(prompts=output / "prompts" / "a1.json"))
    np.testing.assert_array_equal(read(tmp_path / "predicted" / "a1.nii.gz"), session.mask)


def test_an_automatic_model_gives_the_first_mask(images: Path, tmp_path: Path, models: dict[str, Path]) -> None:
    predict_folder(load_model(models["label_prior"], None, chosen_device("cpu")), images, tmp_path / "predicted",
                   PredictionSettings())
    cases = cases_of(images, tmp_path / "out", models["label_prior"])
    expected = read(tmp_path / "predicted" / "b1.nii.gz")
    assert expected.any()
    np.testing.assert_array_equal(cases.opened("b1").mask(), expected)
    act(cases, "b1", Finish(True))
    np.testing.assert_array_equal(read(tmp_path / "out" / "labelsTr" / "b1.nii.gz"), expected)


def test_a_case_of_another_model_goes_on_from_its_mask(images: Path, tmp_path: Path, models: dict[str, Path]) -> None:
    output = tmp_path / "out"
    painted = cases_of(images, output)
    act(painted, "a1", STROKE)
    mask = painted.opened("a1").mask()
    clicked = cases_of(images, output, models["sam_zeroshot"])
    np.testing.assert_array_equal(clicked.opened("a1").mask(), mask)
    state = act(clicked, "a1", Point((2, 8, 8), "b"))
    assert len(state["points"]) == 1
    assert (cases_of(images, output, models["sam_zeroshot"]).opened("a1").mask() == clicked.opened("a1").mask()).all()


def test_a_case_whose_model_is_gone_goes_on_from_its_mask(
    images: Path, tmp_path: Path, models: dict[str, Path]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(models["sam_zeroshot"], model)
    clicked = cases_of(images, tmp_path / "out", model)
    act(clicked, "a1", Box((0, 4, 4), (2, 20, 20), "b"))
    mask = clicked.opened("a1").mask()
    shutil.rmtree(model)
    without = cases_of(images, tmp_path / "out")
    assert mask.any() and np.array_equal(without.opened("a1").mask(), mask)
    act(without, "a1", Point((2, 8, 8), "b"))  # recorded, and answered by no model
    np.testing.assert_array_equal(without.opened("a1").mask(), mask)


def test_a_finished_case_without_session_begins_with_its_label(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    cases = cases_of(images, output)
    act(cases, "a1", STROKE)
    act(cases, "a1", Finish(True))
    for path in (output / "sessions" / "a1").iterdir():
        path.unlink()
    assert cases_of(images, output).opened("a1").mask().sum() == 4


def test_another_image_under_a_session_is_refused(images: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    act(cases_of(images, output), "a1", STROKE)
    (images / "a1_0000.nii.gz").unlink()
    (images / "a1_0000.nii.gz").hardlink_to(images / "c1_0000.nii.gz")
    with pytest.raises(UserError, match="A session must be continued with its image"):
        cases_of(images, output).opened("a1")


def test_uncertain_cases_come_first_and_finished_ones_last(
    images: Path, tmp_path: Path, models: dict[str, Path]
) -> None:
    output = tmp_path / "out"
    first = cases_of(images, output, models["label_prior"])
    act(first, "b1", Finish(True))
    cases = cases_of(images, output, models["label_prior"], "uncertain")
    cache = json.loads((output / "uncertainty.json").read_text())
    assert len(cache) == 2 and cases.order[-1] == "b1"
    model = load_model(models["label_prior"], None, chosen_device("cpu"))
    predict_folder(model, images, tmp_path / "predicted", PredictionSettings(save_probabilities=True))
    values = {name: uncertainty_of(np.load(tmp_path / "predicted" / f"{name}.npz")["probabilities"], model.labels)
              for name in ("a1", "c1")}
    assert sorted(cache.values()) == pytest.approx(sorted(values.values()), abs=1e-6)
    assert list(cases.order[:2]) == most_uncertain_first(values)
    # cached: the values in the file are used, as long as images and weights are the same
    write_json(output / "uncertainty.json", dict.fromkeys(cache, 0.5))
    assert cases_of(images, output, models["label_prior"], "uncertain").order == ("a1", "c1", "b1")
    shutil.copytree(models["label_prior"], tmp_path / "other")
    shutil.copytree(tmp_path / "other" / "fold_0", tmp_path / "other" / "fold_1")
    again = cases_of(images, output, tmp_path / "other", "uncertain")  # another model
    assert again.order == cases.order
    (images / "a1_0000.nii.gz").unlink()
    (images / "a1_0000.nii.gz").hardlink_to(images / "b1_0000.nii.gz")  # another image
    cases_of(images, output, models["label_prior"], "uncertain")
    assert len(json.loads((output / "uncertainty.json").read_text())) == 2 + 2 + 1


def test_uncertainty_by_hand() -> None:
    """Two classes: entropy of 0.5 is 1 (of its maximum), of 0.9 it is 0.469."""
    labels = LabelSpace({"background": 0, "a": 1})
    foreground = np.zeros((1, 1, 9), np.float32)
    foreground[0, 0, 0] = 0.9  # counted with its two neighbours, which are sure
    expected = -(0.9 * np.log2(0.9) + 0.1 * np.log2(0.1))
    assert uncertainty_of(np.stack([1 - foreground, foreground]), labels) == pytest.approx(expected / 3, abs=1e-6)
    foreground[0, 0, 8] = 0.4  # no foreground, but likely enough to count
    expected += -(0.4 * np.log2(0.4) + 0.6 * np.log2(0.6))
    assert uncertainty_of(np.stack([1 - foreground, foreground]), labels) == pytest.approx(expected / 4, abs=1e-6)
    assert uncertainty_of(np.stack([np.ones((1, 1, 9)), np.zeros((1, 1, 9))]).astype(np.float32), labels) == 0
    regions = LabelSpace({"background": 0, "whole": (1, 2), "core": (2,)}, (1, 2))
    both = np.stack([np.full((1, 1, 9), 0.5), np.full((1, 1, 9), 0.9)]).astype(np.float32)
    assert uncertainty_of(both, regions) == pytest.approx((1 + 0.4689956) / 2, abs=1e-6)
    assert most_uncertain_first({"b": 0.2, "a": 0.2, "c": 0.7}) == ["c", "a", "b"]
