"""A session without a model: masks by hand, what is refused, undo and redo, files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

import samunet
from samunet.errors import UserError
from samunet.interaction.session import Session

SHAPE = (4, 6, 5)
LABELS = {"organ": 1, "tumour": 2}
# Voxels of 1 x 2 x 3 mm (x, y, z): x runs along the second axis of the world, y and z oblique to the others.
OBLIQUE = np.array([[0.0, -1.6, 1.8, 5.0], [1.0, 0.0, 0.0, -7.0], [0.0, 1.2, 2.4, 11.0], [0, 0, 0, 1]])


def session() -> Session:
    opened = Session(labels=LABELS)
    opened.set_image(np.arange(120.0).reshape(SHAPE), (3.0, 1.0, 2.0))
    return opened


def image_file(path: Path, affine: np.ndarray = OBLIQUE) -> Path:
    voxels = np.arange(120, dtype=np.float32).reshape(SHAPE)
    nibabel.save(nibabel.Nifti1Image(voxels.T, affine), path)
    return path


def test_prompts_without_a_model_are_recorded_and_change_nothing() -> None:
    opened = session()
    opened.add_point((1, 2, 3), "organ")
    opened.add_point((1, 2, 4), 2, positive=False)
    opened.add_box((0, 0, 0), (1, 2, 2), "organ")
    assert [type(action).__name__ for action in opened.actions] == ["Point", "Point", "Box"]
    assert opened.actions[1].label == "tumour" and not opened.actions[1].positive
    assert not opened.mask.any() and opened.changed is None
    assert opened.undo() and len(opened.actions) == 2 and opened.can_redo


def test_strokes_paint_and_erase_voxels_by_hand() -> None:
    opened = session()
    opened.paint([(1, 2, 3)], "tumour", 1.0)
    assert opened.mask.dtype == np.uint8 and np.argwhere(opened.mask == 2).tolist() == [[1, 1, 3], [1, 2, 3], [1, 3, 3]]
    assert opened.changed == (slice(1, 2), slice(1, 4), slice(3, 4)) and (opened.mask[opened.changed] == 2).all()
    opened.paint([(1, 2, 3)], 0, 0.0)
    assert opened.mask[1, 2, 3] == 0 and opened.mask.sum() == 4
    opened.paint([(1, 1, 3)], "background", 0)
    assert opened.mask.sum() == 2
    assert opened.undo() and opened.undo() and opened.mask.sum() == 6
    with pytest.raises(ValueError, match="read-only"):
        opened.mask[0, 0, 0] = 1


def test_a_whole_mask_replaces_what_was_there_and_can_be_undone() -> None:
    opened = session()
    opened.paint([(0, 0, 0)], 1, 0)
    given = np.zeros(SHAPE, bool)
    given[2] = True
    opened.set_mask(given)
    np.testing.assert_array_equal(opened.mask, given)
    opened.paint([(2, 0, 0)], "tumour", 0)
    assert opened.mask[2, 0, 0] == 2 and opened.mask.sum() == 31
    assert opened.undo() and opened.undo() and opened.mask.sum() == 1 and opened.mask[0, 0, 0] == 1


def test_a_2d_image_is_one_slice() -> None:
    opened = Session(labels={"a": 1})
    opened.set_image(np.zeros((6, 5)), (1.0, 2.0))
    opened.paint([(0, 3, 2)], "a", 1.0)
    assert opened.mask.shape == (1, 6, 5) and opened.mask[0, :, 2].tolist() == [0, 0, 1, 1, 1, 0]
    opened.set_mask(np.ones((6, 5), int))
    assert opened.mask.all()


BAD = [
    (lambda s: s.add_point((4, 0, 0), "organ"), "(?s)inside the image.*4 x 6 x 5"),
    (lambda s: s.add_point((0, -0.51, 0), "organ"), "inside the image"),
    (lambda s: s.add_point((0, 0, float("nan")), "organ"), "three finite numbers"),
    (lambda s: s.add_point((0, 0, float("inf")), "organ"), "three finite numbers"),
    (lambda s: s.add_point((0, 0, True), "organ"), "three finite numbers"),
    (lambda s: s.add_point((0, 0), "organ"), "three finite numbers"),
    (lambda s: s.add_point(3, "organ"), "three finite numbers"),
    (lambda s: s.add_point("abc", "organ"), "three finite numbers"),
    (lambda s: s.add_point((0, 0, 10**400), "organ"), "three finite numbers"),
    (lambda s: s.add_point((0, 0, 0), "liver"), "(?s)label of the session.*'liver'.*organ, tumour"),
    (lambda s: s.add_point((0, 0, 0), 0), "label of the session"),
    (lambda s: s.add_point((0, 0, 0), 3), "label of the session"),
    (lambda s: s.add_point((0, 0, 0), True), "label of the session"),
    (lambda s: s.add_point((0, 0, 0), "organ", "no"), "true or false"),
    (lambda s: s.add_box((2, 0, 0), (1, 2, 2), "organ"), "no low corner above"),
    (lambda s: s.add_box((0, 6, 0), (1, 9, 2), "organ"), "must meet the image"),
    (lambda s: s.add_box((0, 0, 0), (1, 1, float("nan")), "organ"), "three finite numbers"),
    (lambda s: s.paint([], 1, 1.0), "1 to 10000 places"),
    (lambda s: s.paint([(0, 0, 0)] * 1_000_000, 1, 1.0), "1 to 10000 places"),
    (lambda s: s.paint([(0, 0, 0)], 1, -1.0), "0 or more"),
    (lambda s: s.paint([(0, 0, 0)], 1, float("nan")), "0 or more"),
    (lambda s: s.paint([(0, 0, 0)], 1, 1.0, 3), "axis of a stroke"),
    (lambda s: s.paint([(0, 0, 0), (1, 0, 0)], 1, 1.0), "(?s)one plane.*planes 0 to 1"),
    (lambda s: s.paint([(0, 0, 9)], 1, 1.0), "inside the image"),
    (lambda s: s.paint([(0, 0, 0)], np.array([0, 1]), 1.0), "label of the session"),
    (lambda s: s.paint([(0, 0, 0)], 0.0, 1.0), "label of the session"),
    (lambda s: s.paint([(0, 0, 0)], "liver", 1.0), "(?s)label of the session.*background, organ"),
    (lambda s: s.set_mask(np.full(SHAPE, 3)), "(?s)only values that dataset.json lists.*3 .120 voxels"),
    (lambda s: s.set_mask(np.full(SHAPE, 255, np.uint8)), "(?s)only values that dataset.json lists.*255 .120 voxels"),
    (lambda s: s.set_mask(np.full(SHAPE, 2**64 - 1, np.uint64)), "(?s)only values that dataset.json lists.*120 voxels"),
    (lambda s: s.set_mask(np.zeros((4, 6, 6), int)), "image's shape"),
    (lambda s: s.set_mask(np.zeros(SHAPE)), "whole numbers"),
    (lambda s: s.set_mask("nowhere.nii.gz"), "no such file"),
]


@pytest.mark.parametrize("bad, message", BAD)
def test_a_bad_action_is_one_message_and_leaves_the_session_as_it_was(bad: Any, message: str) -> None:
    opened = session()
    opened.paint([(1, 2, 3)], 1, 1.0)
    opened.paint([(1, 2, 3)], 2, 1.0)
    opened.undo()
    mask, actions = opened.mask.copy(), opened.actions
    with pytest.raises(UserError, match=message):
        bad(opened)
    np.testing.assert_array_equal(opened.mask, mask)
    assert opened.actions == actions and opened.can_redo


@pytest.mark.parametrize("image, spacing, message", [
    (np.zeros((2, 2)), None, "(?s)needs its spacing in mm, 2 numbers .y, x."),
    (np.zeros((2, 2, 2)), (1, 1), "3 numbers .z, y, x."),
    (np.zeros((2, 2, 2)), (1, 1, 0), "between 0.001"),
    (np.zeros((2, 2, 2)), (1, 1, float("nan")), "between 0.001"),
    (np.zeros((2, 2, 2)), "abc", "3 numbers"),
    (np.full((2, 2, 2), np.nan), (1, 1, 1), "must not hold NaN"),
    (np.zeros((0, 2, 2)), (1, 1, 1), "and voxels"),
    (np.zeros(4), (1,), "must have axes"),
    ("nowhere.nii.gz", None, "no such file"),
    ("a" * 5000 + ".nii.gz", None, "no such file"),
    ("nowhere.txt", None, "an ending that samunet reads"),
    ("nowhere.nii.gz", (1, 1, 1), "with an array alone"),
    ([], None, "at least one file"),
])
def test_a_bad_image_is_one_message_and_the_image_before_stays(image: Any, spacing: Any, message: str) -> None:
    opened = session()
    opened.paint([(1, 2, 3)], 1, 1.0)
    with pytest.raises(UserError, match=message):
        opened.set_image(image, spacing)
    assert opened.image.shape == SHAPE and opened.mask.sum() == 3


def test_a_session_needs_labels_and_an_image() -> None:
    with pytest.raises(UserError, match="without a model needs labels"):
        Session()
    with pytest.raises(UserError, match="consecutive integers"):
        Session(labels={"a": 2})
    opened = Session(labels={"a": 1})
    for call in (lambda: opened.mask, opened.undo, lambda: opened.add_point((0, 0, 0), "a"),
                 lambda: opened.save("x.json")):
        with pytest.raises(UserError, match="(?s)must have an image first.*set_image"):
            call()


def test_what_is_saved_is_loaded_with_its_undone_actions(tmp_path: Path) -> None:
    opened = Session(labels=LABELS)
    opened.set_image(image_file(tmp_path / "c_0000.nii.gz"))
    opened.add_point((1, 2, 3), "organ", positive=False)
    given = np.zeros(SHAPE, np.int64)
    given[1:3, 2:4] = 1
    opened.set_mask(given)
    opened.paint([(2, 1, 1), (2, 4, 1)], "tumour", 2.0)
    masks = [opened.mask.copy()]
    opened.paint([(2, 1, 1)], 0, 0.5)
    opened.add_box((0, 0, 0), (3, 3, 3), 2)
    masks.append(opened.mask.copy())
    opened.undo()
    opened.undo()
    assert opened.save(tmp_path / "c.json") == tmp_path / "c_mask.nii.gz"
    again = Session.load(tmp_path / "c.json")
    assert again.actions == opened.actions and again.changed is None
    np.testing.assert_array_equal(again.mask, masks[0])
    assert again.redo() and again.redo() and not again.redo()
    np.testing.assert_array_equal(again.mask, masks[1])
    for _ in range(5):
        assert again.undo()
    assert not again.mask.any() and not again.undo()


@pytest.mark.parametrize("affine", [OBLIQUE, np.diag([-0.7, 0.7, 10.0, 1]), np.diag([1.0, -2.0, -3.0, 1])])
def test_the_saved_mask_is_on_the_images_grid(tmp_path: Path, affine: np.ndarray) -> None:
    opened = Session(labels=LABELS)
    opened.set_image(image_file(tmp_path / "c.nii.gz", affine))
    opened.paint([(3, 1, 2)], "tumour", 0)
    written = nibabel.load(opened.save(tmp_path / "s.json"))
    np.testing.assert_allclose(written.affine, affine, atol=1e-6)
    assert np.argwhere(np.asarray(written.dataobj)).tolist() == [[2, 1, 3]] and written.get_data_dtype() == np.uint8
    assert float(nibabel.load(tmp_path / "c.nii.gz").dataobj[2, 1, 3]) == 3 * 30 + 1 * 5 + 2


def test_another_image_is_refused(tmp_path: Path) -> None:
    path = image_file(tmp_path / "c.nii.gz")
    opened = Session(labels=LABELS)
    opened.set_image(path)
    opened.save(tmp_path / "s.json")
    image_file(path, OBLIQUE + np.diag([0, 0, 0.5, 0]))  # the same voxels on another grid
    with pytest.raises(UserError, match="(?s)continued with its image.*c.nii.gz"):
        Session.load(tmp_path / "s.json")
    other = tmp_path / "other.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones(SHAPE, np.float32).T, OBLIQUE), other)
    with pytest.raises(UserError, match="(?s)continued with its image.*other.nii.gz"):
        Session.load(tmp_path / "s.json", image=other)
    assert Session.load(tmp_path / "s.json", image=image_file(tmp_path / "moved.nii.gz")).image.shape == SHAPE


def test_an_array_is_given_again(tmp_path: Path) -> None:
    opened = session()
    opened.paint([(1, 2, 3)], 1, 1.0)
    opened.save(tmp_path / "s.json")
    with pytest.raises(UserError, match="was an array"):
        Session.load(tmp_path / "s.json")
    again = Session.load(tmp_path / "s.json", image=np.arange(120.0).reshape(SHAPE), spacing_mm=(3, 1, 2))
    assert again.mask.sum() == 3
    with pytest.raises(UserError, match="continued with its image"):
        Session.load(tmp_path / "s.json", image=np.arange(120.0).reshape(SHAPE), spacing_mm=(3, 1, 1))


def test_a_mask_that_was_changed_or_lost_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = Session(labels=LABELS)
    opened.set_image(image_file(tmp_path / "c.nii.gz"))
    opened.paint([(1, 2, 3)], 1, 2.0)
    mask = opened.save(tmp_path / "s.json")
    for damage in (lambda: mask.write_bytes(mask.read_bytes()[:-9]), mask.unlink):
        damage()
        np.testing.assert_array_equal(Session.load(tmp_path / "s.json").mask, opened.mask)
        assert "is missing or was changed; the mask is recomputed" in capsys.readouterr().err
    content = json.loads((tmp_path / "s.json").read_text())
    content["recorded_mask"]["file"] = "x" * 400  # no file's name is as long
    (tmp_path / "s.json").write_text(json.dumps(content))
    np.testing.assert_array_equal(Session.load(tmp_path / "s.json").mask, opened.mask)


@pytest.mark.parametrize("edit, message", [
    (lambda c: c.update(version=2), "version"),
    (lambda c: c.update(cursor=9), "cursor 9 of 1 actions"),
    (lambda c: c.update(cursor=-1), "cursor"),
    (lambda c: c["actions"][0].update(kind="scribble"), "scribble"),
    (lambda c: c["actions"][0].update(extra=1), "extra"),
    (lambda c: c["actions"][0].update(label="liver"), "label of the session"),
    (lambda c: c["actions"][0].update(places=[[9, 0, 0]]), "inside the image"),
    (lambda c: c["actions"][0].update(places=[[float("nan"), 0, 0]]), r"places\[0\]\[0\]"),
    (lambda c: c["actions"][0].update(radius_mm=-1), "radius_mm"),
    (lambda c: c.update(actions=[{"kind": "mask", "voxels": "AAAA"}]), "must be whole"),
    (lambda c: c.update(actions=[{"kind": "mask", "voxels": "???"}]), "base64"),
    (lambda c: c["recorded_mask"].update(file="../x.nii.gz"), "another folder"),
    (lambda c: c["labels"].update(organ=2), "consecutive|every label"),
    (lambda c: c.pop("image"), "image"),
])
def test_a_damaged_session_is_one_message(tmp_path: Path, edit: Any, message: str) -> None:
    opened = Session(labels=LABELS)
    opened.set_image(image_file(tmp_path / "c.nii.gz"))
    opened.paint([(1, 2, 3)], 1, 2.0)
    opened.save(tmp_path / "s.json")
    content = json.loads((tmp_path / "s.json").read_text())
    edit(content)
    (tmp_path / "s.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"(?is){message}"):
        Session.load(tmp_path / "s.json")


def test_samunet_names_session_and_imports_it_when_it_is_used() -> None:
    assert samunet.Session is Session
    with pytest.raises(AttributeError, match="nothing"):
        _ = samunet.nothing
    code = "import samunet, sys; print(*{'numpy', 'torch', 'msgspec', 'samunet.interaction'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def png_file(folder: Path) -> Path:
    imageio.imwrite(folder / "c_0000.png", np.arange(30, dtype=np.uint8).reshape(6, 5))
    return folder / "c_0000.png"


def tiff_file(folder: Path) -> Path:
    tifffile.imwrite(folder / "c_0000.tiff", np.arange(120, dtype=np.uint8).reshape(SHAPE), photometric="minisblack")
    (folder / "c.json").write_text('{"spacing": [3.0, 1.0, 2.0]}')
    return folder / "c_0000.tiff"


def nrrd_file(folder: Path) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(np.arange(120, dtype=np.uint8).reshape(SHAPE)), str(folder / "c.nrrd"))
    return folder / "c.nrrd"


@pytest.mark.parametrize("written, name", [(png_file, "s_mask.png"), (tiff_file, "s_mask.tiff"),
                                           (nrrd_file, "s_mask.nrrd")])
def test_other_formats_are_saved_as_they_are_read(tmp_path: Path, written: Any, name: str) -> None:
    opened = Session(labels=LABELS)
    opened.set_image(written(tmp_path))
    opened.paint([(0, 2, 3)], "tumour", 2.0)
    assert opened.save(tmp_path / "s.json") == tmp_path / name
    again = Session.load(tmp_path / "s.json")
    assert again.mask[0, 2, 3] == 2 and (again.mask == opened.mask).all()
    opened.undo()
    opened.set_mask(tmp_path / name)
    assert (opened.mask == again.mask).all() and opened.actions[0].source == str(tmp_path / name)


def test_numbers_of_numpy_are_taken_and_saved(tmp_path: Path) -> None:
    opened = Session(labels=LABELS)
    opened.set_image(np.arange(120.0).reshape(SHAPE), np.array([3.0, 1.0, 2.0]))
    opened.add_point(np.array([1, 2, 3]), np.int64(1))
    opened.paint(np.array([[1.0, 2.0, 3.0]]), np.uint8(2), np.float32(1), np.int64(0))
    assert np.argwhere(opened.mask == 2).tolist() == [[1, 1, 3], [1, 2, 3], [1, 3, 3]]
    opened.save(tmp_path / "s.json")
    again = Session.load(tmp_path / "s.json", image=np.arange(120.0).reshape(SHAPE), spacing_mm=(3, 1, 2))
    assert again.actions == opened.actions and (again.mask == opened.mask).all()


def test_saving_never_replaces_the_image(tmp_path: Path) -> None:
    for name, path in (("c_mask.nii.gz", "c.json"), ("c.nii.gz", "c.nii.gz")):
        image = image_file(tmp_path / name)
        before = image.read_bytes()
        opened = Session(labels=LABELS)
        opened.set_image(image)
        with pytest.raises(UserError, match="must not replace its image|must end with .json"):
            opened.save(tmp_path / path)
        assert image.read_bytes() == before and sorted(tmp_path.iterdir()) == [image]
        image.unlink()
