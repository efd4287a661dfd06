"""Sequences as folders of frames: values by hand, names and their order, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from skimage import io

from samunet.dataset.dataset import collect_cases, load_dataset
from samunet.dataset.geometry import Geometry
from samunet.dataset.integrity import verify_folder
from samunet.dataset.io.frame_folder_io import FrameFolderIO
from samunet.dataset.io.frame_names import frame_names
from samunet.dataset.io.readers import choose_reader
from samunet.errors import UserError

ROWS, COLUMNS = 4, 6


def write_frame(path: Path, value: int, channels: int = 3, columns: int = COLUMNS) -> None:
    """A frame whose colours are `value`, `value` + 1, ...; a grey one where `channels` is 1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = np.full((ROWS, columns, channels), value, np.uint8) + np.arange(channels, dtype=np.uint8)
    io.imsave(path, frame if channels > 1 else frame[..., 0], check_contrast=False)


def write_sequence(folder: Path, values: list[int], channels: int = 3) -> Path:
    """Frames f0.png, f1.png, ... of these values."""
    for index, value in enumerate(values):
        write_frame(folder / f"f{index}.png", value, channels)
    return folder


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two good cases of five frames; the label of frame t is 1 in all pixels where t is 1 or 2, else 0."""
    folder = tmp_path / "Dataset007_Frames"
    for name in ("a", "b"):
        write_sequence(folder / "imagesTr" / f"{name}_0000", [10, 20, 30, 40, 50])
        write_sequence(folder / "labelsTr" / name, [0, 1, 1, 0, 0], channels=1)
    (folder / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "tool": 1}, "numTraining": 2,
        "file_ending": "/"}))
    return folder


def test_colours_and_time_by_hand(tmp_path):
    image, geometry = FrameFolderIO().read_images([write_sequence(tmp_path / "a_0000", [10, 20, 30, 40, 50])])
    assert image.dtype == np.float32 and image.shape == (3, 5, ROWS, COLUMNS)
    np.testing.assert_array_equal(image[:, :, 0, 0], [[10, 20, 30, 40, 50], [11, 21, 31, 41, 51], [12, 22, 32, 42, 52]])
    assert geometry == Geometry("FrameFolderIO", (5, ROWS, COLUMNS), (4.0, 1.0, 1.0),
                                frames=("f0", "f1", "f2", "f3", "f4"))
    assert Geometry.from_json(json.loads(json.dumps(geometry.to_json()))) == geometry


def test_labels_come_back_under_the_images_names(tmp_path):
    for index in (8, 9, 10, 11, 100):
        write_frame(tmp_path / "a_0000" / f"frame {index}.jpg", index)
    _, geometry = FrameFolderIO().read_images([tmp_path / "a_0000"])
    segmentation = np.random.default_rng([0]).integers(0, 3, (5, ROWS, COLUMNS))
    for _ in range(2):  # the second time an older folder is replaced
        FrameFolderIO().write_segmentation(segmentation, tmp_path / "out" / "a", geometry)
    assert sorted(path.name for path in (tmp_path / "out" / "a").iterdir()) == [
        "frame 10.png", "frame 100.png", "frame 11.png", "frame 8.png", "frame 9.png"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
    np.testing.assert_array_equal(io.imread(tmp_path / "out" / "a" / "frame 10.png"), segmentation[2])
    assert io.imread(tmp_path / "out" / "a" / "frame 8.png").dtype == np.uint8
    again, label_geometry = FrameFolderIO().read_segmentation(tmp_path / "out" / "a")
    np.testing.assert_array_equal(again[0], segmentation)
    assert again.dtype == np.int16 and label_geometry == geometry


@pytest.mark.parametrize("names",
                         [["9", "10"], ["f2a", "f10"], ["a_1_9", "a_1_10"], ["1_10", "2_9"], ["B1", "c0"], ["5", "x"]])
def test_frames_stand_in_natural_order(tmp_path, names):
    for name in reversed(names):
        (tmp_path / f"{name}.png").touch()
    for stranger in (".hidden.png", "Thumbs.db"):
        (tmp_path / stranger).touch()
    assert frame_names(tmp_path) == tuple(names)


def test_a_good_dataset_is_read_and_found_for_prediction(dataset):
    raw = verify_folder(dataset, 1)
    assert choose_reader(raw) == "FrameFolderIO" and raw.label_ending == "/"
    assert [(case.name, case.images[0].name, case.label.name) for case in raw.cases] == [("a", "a_0000", "a"),
                                                                                         ("b", "b_0000", "b")]
    assert [case.name for case in collect_cases(dataset / "imagesTr", "/", 3)] == ["a", "b"]


def _problem(call, *arguments) -> UserError:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return caught.value


def test_missing_and_superfluous_label_frames_are_reported_before_anything_is_read(dataset):
    (dataset / "labelsTr" / "b" / "f3.png").rename(dataset / "labelsTr" / "b" / "g3.png")
    for call in (load_dataset, lambda folder: verify_folder(folder, 1)):
        problem = _problem(call, dataset)
        assert problem.rule.startswith("There must be one frame for each frame of the image, with its name")
        assert problem.where == str(dataset / "labelsTr" / "b")
        assert problem.found == "1 of 5 are missing: f3; 1 belong to none of them: g3"


def test_a_missing_label_frame_is_one_message(dataset):
    (dataset / "labelsTr" / "b" / "f3.png").unlink()
    assert _problem(verify_folder, dataset, 1).found == "1 of 5 are missing: f3"


def test_frames_of_two_sizes_are_one_message(dataset):
    write_frame(dataset / "imagesTr" / "a_0000" / "f0.png", 10, columns=5)
    write_frame(dataset / "imagesTr" / "a_0000" / "f4.png", 10, channels=1)
    problem = _problem(verify_folder, dataset, 1)
    assert problem.rule.startswith("All frames of a sequence must have one size")
    assert problem.where == str(dataset / "imagesTr" / "a_0000")
    assert problem.found == (
        "2 of 5 are not 4 x 6 with 3 channels: f0 (4 x 5 with 3 channels), f4 (4 x 6 with 1 channel)")


def test_all_problems_of_all_cases_are_reported_at_once(dataset):
    write_frame(dataset / "imagesTr" / "a_0000" / "f0.png", 10, columns=5)
    (dataset / "labelsTr" / "a" / "f1.png").unlink()
    write_frame(dataset / "labelsTr" / "a" / "f2.png", 9, channels=1)
    (dataset / "imagesTr" / "b_0000" / "f2.png").write_bytes(b"no image")
    write_frame(dataset / "labelsTr" / "b" / "f2.png", 1, channels=1, columns=7)
    text = str(_problem(verify_folder, dataset, 1))
    assert text.startswith("5 problems were found:")
    for part in ("1 of 5 are missing: f1", "f0 (4 x 5", "9 (24 voxels)", "must be readable", "f2 (4 x 7"):
        assert part in text


def test_colours_in_labels_and_names_that_stand_twice(dataset):
    write_sequence(dataset / "labelsTr" / "a", [0, 1, 1, 0, 0], channels=3)
    assert _problem(verify_folder, dataset, 1).found.startswith("3 channels of shape (5, 4, 6)")
    write_frame(dataset / "labelsTr" / "a" / "f0.bmp", 0)
    problem = _problem(FrameFolderIO().read_segmentation, dataset / "labelsTr" / "a")
    assert (problem.rule, problem.found) == ("Every frame must have a name of its own; endings do not count.", "f0")


def test_a_folder_that_is_missing_or_empty(tmp_path):
    assert _problem(FrameFolderIO().read_segmentation, tmp_path / "none").found == "no such folder"
    (tmp_path / "empty").mkdir()
    problem = _problem(FrameFolderIO().read_images, [tmp_path / "empty"])
    assert problem.rule == "A folder of frames must hold image files."


def test_grey_folders_are_channels_and_must_have_the_same_frames(tmp_path):
    folders = [write_sequence(tmp_path / f"a_000{channel}", [1, 2, 3], channels=1) for channel in (0, 1)]
    assert FrameFolderIO().read_images(folders)[0].shape == (2, 3, ROWS, COLUMNS)
    (folders[1] / "f2.png").rename(folders[1] / "f3.png")
    assert _problem(FrameFolderIO().read_images,
                    folders).found == "1 of 3 are missing: f2; 1 belong to none of them: f3"
