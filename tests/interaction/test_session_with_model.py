"""Sessions of `sam_zeroshot`: what they give is what samunet_predict gives for the same prompts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from samunet.errors import UserError
from samunet.inference.model_folder import load_model
from samunet.inference.predict_folder import PredictionSettings, predict_folder
from samunet.inputs import embeddings
from samunet.interaction.session import Session

POINTS = [((1, 8, 9), "a", True), ((2, 10, 12), "a", True), ((2, 9, 8), "b", True), ((1, 16, 4), "a", False)]
BOX = ((0, 6, 5), (2, 17, 14))


def image_of(prepared: Path) -> Path:
    return prepared / "raw" / "Dataset005_Made" / "imagesTr" / "c1_0000.nii.gz"


@pytest.fixture
def opened(prepared: Path, zeroshot: Path) -> Session:
    session = Session(zeroshot, device="cpu")
    session.set_image(image_of(prepared))
    return session


def predicted(folder: Path, image: Path, model: Path, content: dict) -> Path:
    """What samunet_predict writes for one image and the content of a prompts file."""
    (folder / "in").mkdir(parents=True)
    (folder / "in" / "c_0000.nii.gz").write_bytes(image.read_bytes())
    (folder / "prompts.json").write_text(json.dumps(content))
    predict_folder(load_model(model, None, torch.device("cpu")), folder / "in", folder / "out",
                   PredictionSettings(prompts=folder / "prompts.json"))
    return folder / "out" / "c.nii.gz"


def content_of(points: list, boxes: dict | None = None) -> dict:
    """The same prompts as the content of a prompts file, whose places are (x, y, z)."""
    case: dict = {}
    for place, label, positive in points:
        case.setdefault(label, {}).setdefault("points", []).append({"at": place[::-1], "positive": positive})
    for label, (low, high) in (boxes or {}).items():
        case.setdefault(label, {})["boxes"] = [{"min": low[::-1], "max": high[::-1]}]
    return {"space": "voxel", "cases": {"c": case}}


def test_prompts_one_after_the_other_give_the_bytes_of_samunet_predict(opened, prepared, zeroshot, tmp_path) -> None:
    for count, (place, label, positive) in enumerate(POINTS, 1):
        opened.add_point(place, label, positive)
        there = predicted(tmp_path / str(count), image_of(prepared), zeroshot, content_of(POINTS[:count]))
        assert opened.save(tmp_path / "s.json").read_bytes() == there.read_bytes()
    opened.add_box(*BOX, "b")
    there = predicted(tmp_path / "box", image_of(prepared), zeroshot, content_of(POINTS, {"b": BOX}))
    assert opened.save(tmp_path / "s.json").read_bytes() == there.read_bytes()
    assert set(np.unique(opened.mask)) == {0, 1, 2}


def test_a_negative_point_changes_its_slice_alone(opened) -> None:
    opened.add_point((1, 8, 9), "a")
    opened.add_point((2, 10, 12), "a")
    before = opened.mask.copy()
    place = tuple(np.argwhere(before[2] == 1)[-1])
    opened.add_point((2, *place), "a", positive=False)
    assert opened.changed is not None and opened.changed[0] == slice(2, 3)
    assert (opened.mask[:2] == before[:2]).all() and (opened.mask[2] != before[2]).any()
    assert opened.undo() and (opened.mask == before).all()


def test_negative_points_alone_give_nothing(opened) -> None:
    opened.add_point((1, 8, 9), "a", positive=False)
    assert not opened.mask.any() and opened.changed is None
    opened.add_point((1, 8, 10), "a")
    assert opened.mask[1].any()


def test_what_no_prompt_reaches_stays_as_the_mask_that_was_set(opened) -> None:
    start = np.zeros(opened.mask.shape, np.uint8)
    start[0, 3:9, 3:9], start[1, 3:9, 3:9], start[1, 20:25, 20:25] = 1, 2, 1
    opened.set_mask(start)
    opened.add_point((1, 22, 22), "a")
    assert (opened.mask[[0, 2]] == start[[0, 2]]).all()  # other slices
    kept = (opened.mask[1] == 2)
    assert (kept <= (start[1] == 2)).all() and (opened.mask[1][(start[1] == 2) & ~kept] == 1).all()
    assert opened.undo() and (opened.mask == start).all()
    opened.add_point((0, 5, 5), "a", positive=False)  # the class is answered from prompts there: nothing
    assert not opened.mask[0].any() and (opened.mask[1:] == start[1:]).all()


def test_a_whole_mask_ends_the_prompts_and_strokes_before_it(opened) -> None:
    opened.add_point((1, 8, 9), "a")
    opened.paint([(0, 2, 2)], "b", 0)
    assert opened.mask[1].any() and opened.mask[0].any()
    opened.set_mask(np.zeros(opened.mask.shape, np.uint8))
    opened.add_point((2, 10, 12), "a")
    assert opened.mask[2].any() and not opened.mask[:2].any()


def test_painted_voxels_stay_over_later_answers(opened) -> None:
    opened.add_point((1, 8, 9), "a")
    answered = opened.mask.copy()
    opened.paint([(1, 2, 2)], "b", 0)
    opened.paint([(1, 8, 9)], 0, 0)
    opened.add_point((1, 12, 9), "a")
    assert opened.mask[1, 2, 2] == 2 and opened.mask[1, 8, 9] == 0
    for _ in range(3):
        opened.undo()
    np.testing.assert_array_equal(opened.mask, answered)


def test_each_slice_is_encoded_once_with_its_neighbours(opened, monkeypatch) -> None:
    encoded: list[int] = []
    encode = embeddings.encode

    def counted(encoder, images):
        encoded.append(len(images))
        return encode(encoder, images)

    monkeypatch.setattr(embeddings, "encode", counted)
    for place, label, positive in POINTS:
        opened.add_point(place, label, positive)
    opened.undo()
    opened.redo()
    assert encoded == [3]  # a batch of 8 has room for all slices


def test_a_mask_to_start_from_gives_what_samunet_predict_gives(opened, prepared, zeroshot, tmp_path) -> None:
    start = np.zeros(opened.mask.shape, np.uint8)
    start[0, 3:9, 3:9], start[0, 20:25, 20:25] = 1, 2
    opened.set_mask(start)
    opened.save(tmp_path / "start.json")
    for place, label, positive in POINTS[:2]:
        opened.add_point(place, label, positive)
    content = content_of(POINTS[:2]) | {"masks": {"c": str(tmp_path / "start_mask.nii.gz")}}
    there = predicted(tmp_path / "started", image_of(prepared), zeroshot, content)
    assert opened.save(tmp_path / "s.json").read_bytes() == there.read_bytes()
    assert (opened.mask[0] == start[0]).all() and (opened.mask == 2).any()


def test_start_from_takes_another_models_result(opened, prior, prepared, tmp_path) -> None:
    opened.start_from(prior)
    model = load_model(prior, None, torch.device("cpu"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "c_0000.nii.gz").write_bytes(image_of(prepared).read_bytes())
    predict_folder(model, tmp_path / "in", tmp_path / "out", PredictionSettings())
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "c.nii.gz")))
    np.testing.assert_array_equal(opened.mask, expected)
    assert expected.any() and opened.actions[0].source == str(prior)
    with pytest.raises(UserError, match="(?s)needs no prompts.*sam_zeroshot"):
        opened.start_from(opened._model.model.folder)
    with pytest.raises(UserError, match="(?s)answers prompts.*label_prior"):
        Session(prior)


def test_a_session_goes_on_where_it_was_saved(opened, zeroshot, prior, tmp_path) -> None:
    for place, label, positive in POINTS[:3]:
        opened.add_point(place, label, positive)
    masks = [opened.mask.copy()]
    opened.undo()
    opened.save(tmp_path / "s.json")
    opened.add_point(*POINTS[3])
    again = Session.load(tmp_path / "s.json", device="cpu")  # the recorded model, since none is named
    assert again.redo() and (again.mask == masks[0]).all()
    again.undo()
    again.add_point(*POINTS[3])
    np.testing.assert_array_equal(again.mask, opened.mask)
    for _ in range(3):
        assert again.undo()
    assert not again.mask.any() and not again.undo()
    record = json.loads((tmp_path / "s.json").read_text())
    record["model"]["digest"] = "0" * 64
    (tmp_path / "s.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="continued with its model"):
        Session.load(tmp_path / "s.json", zeroshot)


def test_prompts_that_the_model_does_not_use_are_refused(opened, made) -> None:
    image = np.zeros((3, 30, 28), np.float32)
    image[:, 5:25, 5:25] = np.random.default_rng(0).normal(100, 5, (3, 20, 20))
    opened.set_image(image, (1.0, 1.0, 1.0))
    with pytest.raises(UserError, match="(?s)zeros around the image do not count.*place=.1.0, 2.0, 2.0"):
        opened.add_point((1, 2, 2), "a")
    with pytest.raises(UserError, match="zeros around the image"):
        opened.add_box((0, 0, 0), (2, 3, 3), "a")
    opened.add_box((0, 0, 0), (2, 8, 8), "a")
    assert len(opened.actions) == 1
    with pytest.raises(UserError, match="(?s)channels that dataset.json names.*2 channels"):
        opened.set_image(np.stack([image, image]), (1.0, 1.0, 1.0))
    with pytest.raises(UserError, match="has the model's labels"):
        Session(opened._model.model, labels={"a": 1})


def test_grids_that_differ_leave_unprompted_voxels_as_they_are(opened) -> None:
    """The plan's voxels are 1 mm; the image's are 0.7 x 1.3 mm: there and back again would move the mask's border."""
    random = np.random.default_rng(1)
    opened.set_image(random.normal(100, 5, (3, 40, 24)).astype(np.float32), (1.0, 0.7, 1.3))
    start = np.zeros((3, 40, 24), np.uint8)
    start[0] = random.random((40, 24)) < 0.3
    start[2, 11:24, 5:13] = 2
    opened.set_mask(start)
    opened.add_point((1, 20, 10), "a")
    assert opened.mask[1].any() and (opened.mask[[0, 2]] == start[[0, 2]]).all()
