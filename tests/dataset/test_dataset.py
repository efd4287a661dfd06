from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

from samunet import console
from samunet.dataset.dataset import RawCase, collect_cases, load_dataset, scan_images
from samunet.errors import UserError

CONTENT = {
    "channel_names": {"0": "T1", "1": "T2"},
    "labels": {"background": 0, "organ": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(console, "_said", set())


@pytest.fixture
def folder(tmp_path):
    """Two cases of two channels; the files are empty, for no image is opened."""
    folder = tmp_path / "Dataset005_Two"
    for name in ("b_10", "a"):
        for channel in (0, 1):
            _touch(folder / "imagesTr" / f"{name}_{channel:04d}.nii.gz")
        _touch(folder / "labelsTr" / f"{name}.nii.gz")
    _write(folder)
    return folder


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def _write(folder: Path, drop: tuple[str, ...] = (), **changes: object) -> None:
    content = {key: value for key, value in {**CONTENT, **changes}.items() if key not in drop}
    (folder / "dataset.json").write_text(json.dumps(content))


def _problem(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load_dataset(folder)
    return str(caught.value)


def test_scans_the_folder_as_nnunet_does(folder):
    dataset = load_dataset(folder)
    images, labels = folder / "imagesTr", folder / "labelsTr"
    assert dataset.cases == (
        RawCase("a", (images / "a_0000.nii.gz", images / "a_0001.nii.gz"), labels / "a.nii.gz"),
        RawCase("b_10", (images / "b_10_0000.nii.gz", images / "b_10_0001.nii.gz"), labels / "b_10.nii.gz"),
    )
    assert (dataset.name, dataset.channel_names, dataset.reader) == ("Dataset005_Two", ("T1", "T2"), None)
    theirs = get_filenames_of_train_images_and_targets(str(folder))
    assert {case.name: {"images": [str(path) for path in case.images], "label": str(case.label)}
            for case in dataset.cases} == {name: dict(files) for name, files in theirs.items()}


def test_hidden_files_and_other_endings_are_left_out(folder):
    _touch(folder / "imagesTr" / "._a_0000.nii.gz")
    _touch(folder / "imagesTr" / "a.json")
    assert [case.name for case in load_dataset(folder).cases] == ["a", "b_10"]


def test_legacy_modality(folder):
    _write(folder, drop=("channel_names",), modality={"0": "CT", "1": "PET"})
    assert load_dataset(folder).channel_names == ("CT", "PET")


def test_channels_are_ordered_by_number_not_by_place(folder):
    _write(folder, channel_names={"1": "T2", "0": "T1"})
    assert load_dataset(folder).channel_names == ("T1", "T2")


@pytest.mark.parametrize(("given", "expected"), [("None", None), (None, None), ("SimpleITKIO", "SimpleITKIO")])
def test_overwrite_image_reader_writer(folder, given, expected):
    _write(folder, overwrite_image_reader_writer=given)
    assert load_dataset(folder).reader == expected


def test_listing_replaces_the_scan_with_variables_and_relative_paths(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ELSEWHERE", str(tmp_path / "else"))
    for name in ("x.nii.gz", "y.nii.gz", "xy.nii.gz"):
        _touch(tmp_path / "else" / name)
    listing = {
        "one": {"images": ["$ELSEWHERE/x.nii.gz", "${ELSEWHERE}/y.nii.gz"], "label": "../else/xy.nii.gz"},
        "a": {"images": ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"],
              "label": str(folder / "labelsTr/a.nii.gz")},
    }
    _write(folder, dataset=listing)
    dataset = load_dataset(folder)
    assert [case.name for case in dataset.cases] == ["a", "one"]
    assert dataset.cases[1] == RawCase(
        "one", (tmp_path / "else/x.nii.gz", tmp_path / "else/y.nii.gz"), tmp_path / "else/xy.nii.gz")
    theirs = get_filenames_of_train_images_and_targets(str(folder))
    assert {case.name: {"images": [str(path) for path in case.images], "label": str(case.label)}
            for case in dataset.cases} == theirs


def test_a_listed_image_of_two_cases_is_refused(folder):
    images = ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"]
    _write(folder, dataset={name: {"images": images, "label": "labelsTr/a.nii.gz"} for name in ("one", "two")})
    problem = _problem(folder)
    assert "Every image must belong to one case" in problem
    assert f"{(folder / images[0]).resolve()} in cases one, two" in problem


def test_one_file_may_hold_all_channels(folder):
    for path in folder.glob("imagesTr/*_0001.nii.gz"):
        path.unlink()
    assert [len(case.images) for case in load_dataset(folder).cases] == [1, 1]


def test_unlabelled_cases_need_no_label_and_use_none(folder):
    (folder / "labelsTr" / "a.nii.gz").unlink()
    _write(folder, unlabelled=["a", "b_10"])
    dataset = load_dataset(folder)
    assert [case.label for case in dataset.cases] == [None, None]
    assert dataset.unlabelled == {"a", "b_10"}


def test_unlabelled_cases_of_a_listing(folder):
    _write(folder, numTraining=1, unlabelled=["u"],
           dataset={"u": {"images": ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"]}})
    assert load_dataset(folder).cases[0].label is None


def test_missing_channel(folder):
    (folder / "imagesTr" / "a_0000.nii.gz").unlink()
    message = _problem(folder)
    assert message.startswith("Every case must have a file for each channel.")
    assert "case a lacks a_0000.nii.gz" in message


def test_more_channels_than_named(folder):
    _touch(folder / "imagesTr" / "a_0002.nii.gz")
    assert "case a has a_0002.nii.gz" in _problem(folder)


def test_missing_label(folder):
    (folder / "labelsTr" / "a.nii.gz").unlink()
    message = _problem(folder)
    assert message.startswith("Every training case must have a label file.")
    assert str(folder / "labelsTr" / "a.nii.gz") in message


def test_empty_folder(folder):
    for path in folder.glob("imagesTr/*"):
        path.unlink()
    message = _problem(folder)
    assert message.startswith("The folder of images must hold files CASE_0000.nii.gz.")
    assert "found: nothing" in message


def test_no_folder_of_images(tmp_path):
    _write(tmp_path)
    assert _problem(tmp_path).startswith("The folder of images must exist.")


def test_wrong_number_of_cases(folder):
    _write(folder, numTraining=3)
    assert "numTraining is 3; there are 2 cases" in _problem(folder)


def test_image_without_channel_number(folder):
    _touch(folder / "imagesTr" / "c.nii.gz")
    message = _problem(folder)
    assert message.startswith("Image files must be named CASE_XXXX.nii.gz") and "found: c.nii.gz" in message


def test_unlabelled_case_that_does_not_exist(folder):
    _write(folder, unlabelled=["z"])
    message = _problem(folder)
    assert message.startswith("`unlabelled` in dataset.json must list cases") and "found: z" in message


def test_listed_image_that_does_not_exist_names_the_variable(folder):
    _write(folder, numTraining=1, channel_names={"0": "T1"},
           dataset={"a": {"images": ["$UNSET_PLACE/x.nii.gz"], "label": "labelsTr/a.nii.gz"}})
    assert "$UNSET_PLACE/x.nii.gz" in _problem(folder)


def test_listed_channels_must_be_all_there(folder):
    _write(folder, numTraining=1, channel_names={"0": "T1", "1": "T2", "2": "T3"},
           dataset={"a": {"images": ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"],
                          "label": "labelsTr/a.nii.gz"}})
    assert "2 files for 3 channels" in _problem(folder)


@pytest.mark.parametrize("entry",
                         [{"images": []}, {"images": ["imagesTr/a_0000.nii.gz"]}, "x", {"images": [1], "label": "l"}])
def test_listing_without_images_or_label(folder, entry):
    _write(folder, dataset={"a": entry})
    assert "A case of the `dataset` listing needs `images`" in _problem(folder)


def test_a_listed_label_that_can_be_read_under_the_dataset_s_ending_is_taken(folder):
    _touch(folder / "labelsTr" / "a.nii")
    _write(folder, numTraining=1,
           dataset={"a": {"images": ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"], "label": "labelsTr/a.nii"}})
    assert load_dataset(folder).cases[0].label == folder / "labelsTr" / "a.nii"


@pytest.mark.parametrize("label", ["a.nrrd", "a.img"])
def test_a_listed_label_of_another_kind_is_reported_before_a_copy_is_named_falsely(folder, label):
    _touch(folder / "labelsTr" / label)
    images = ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"]
    _write(folder, numTraining=1, dataset={"a": {"images": images, "label": f"labelsTr/{label}"}})
    message = _problem(folder)
    assert message.startswith("Every label must have the dataset's ending.") and "no .nii.gz file (case a)" in message
    assert str(folder / "labelsTr" / label) in message
    _write(folder, numTraining=1, unlabelled=["a"], dataset={"a": {"images": images, "label": f"labelsTr/{label}"}})
    assert load_dataset(folder).cases[0].label is None


def test_listed_folders_of_frames_may_have_any_name(folder):
    for place in ("imagesTr/a_0000", "labels/a.frames"):
        _touch(folder / place / "0.png")
    _write(folder, numTraining=1, file_ending="/", channel_names={"0": "grey"},
           dataset={"a": {"images": ["imagesTr/a_0000"], "label": "labels/a.frames"}})
    assert load_dataset(folder).cases[0].label == folder / "labels" / "a.frames"


def test_case_name_that_leaves_the_folder(folder):
    _write(folder, dataset={"../a": {"images": ["imagesTr/a_0000.nii.gz"], "label": "labelsTr/a.nii.gz"}})
    assert "A case's name must be usable as a file name." in _problem(folder)


@pytest.mark.parametrize("key", ["channel_names", "labels", "numTraining", "file_ending"])
def test_missing_key(folder, key):
    _write(folder, drop=(key,))
    assert f"dataset.json must have `{key}`." in _problem(folder)


@pytest.mark.parametrize("names", [{"1": "T1"}, {}, {"0": "T1", "2": "T2"}])
def test_channel_numbers_must_run_from_zero(folder, names):
    _write(folder, channel_names=names)
    assert "`channel_names` in dataset.json must number the channels from 0." in _problem(folder)


def test_non_consecutive_labels(folder):
    _write(folder, labels={"background": 0, "a": 1, "b": 3})
    message = _problem(folder)
    assert message.startswith("Label values must be consecutive integers from 0.") and "0, 1, 3" in message


def test_missing_dataset_json(tmp_path):
    with pytest.raises(UserError, match="A required file is missing"):
        load_dataset(tmp_path)


def test_all_problems_together(folder):
    (folder / "imagesTr" / "a_0001.nii.gz").unlink()
    (folder / "labelsTr" / "b_10.nii.gz").unlink()
    _write(folder, numTraining=5)
    message = _problem(folder)
    assert message.startswith("3 problems were found:")
    assert all(text in message for text in ("a_0001.nii.gz", "b_10.nii.gz", "numTraining is 5"))


def test_collect_cases_to_predict(folder):
    images = folder / "imagesTr"
    assert collect_cases(images, ".nii.gz", 2) == (
        RawCase("a", (images / "a_0000.nii.gz", images / "a_0001.nii.gz"), None),
        RawCase("b_10", (images / "b_10_0000.nii.gz", images / "b_10_0001.nii.gz"), None),
    )


def test_collect_cases_reports_a_missing_channel_and_an_empty_folder(folder, tmp_path):
    (folder / "imagesTr" / "b_10_0001.nii.gz").unlink()
    with pytest.raises(UserError, match="case b_10 lacks b_10_0001.nii.gz"):
        collect_cases(folder / "imagesTr", ".nii.gz", 2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="must hold files CASE_0000.png"):
        collect_cases(tmp_path / "empty", ".png", 1)


def test_what_is_passed_over_is_named_in_both_folders(folder, capsys):
    for name in ("imagesTr/c_0000.nii", "imagesTr/.d_0000.nii.gz", "labelsTr/a.nii", "labelsTr/z.nii.gz"):
        _touch(folder / name)
    load_dataset(folder)
    images, labels = folder / "imagesTr", folder / "labelsTr"
    assert capsys.readouterr().err.splitlines() == [
        f"Warning: ignored in {images}: .d_0000.nii.gz (hidden); c_0000.nii (an image, but not .nii.gz)",
        f"Warning: ignored in {labels}: a.nii (also there as .nii.gz)",
        f"Warning: ignored in {labels}: z.nii.gz (no labelled case of the dataset)",
    ]


def test_links_to_nothing_are_reported_once_for_each_folder(folder):
    for name in ("imagesTr/a_0001.nii.gz", "imagesTr/b_10_0000.nii.gz", "labelsTr/a.nii.gz"):
        (folder / name).unlink()
        (folder / name).symlink_to("../.git/annex/objects/x")
    with pytest.raises(UserError) as caught:
        load_dataset(folder)
    images, labels = caught.value.problems
    assert images.found == "2 links to nothing: a_0001.nii.gz, b_10_0000.nii.gz" and images.where == str(folder
                                                                                                         / "imagesTr")
    assert labels.found == "1 link to nothing: a.nii.gz" and "git annex get" in labels.mend


def test_listed_links_to_nothing(folder):
    (folder / "x.nii.gz").symlink_to("nowhere")
    _write(folder, numTraining=1, channel_names={"0": "T1"},
           dataset={"a": {"images": ["x.nii.gz"], "label": "x.nii.gz"}})
    with pytest.raises(UserError) as caught:
        load_dataset(folder)
    assert [problem.found for problem in caught.value.problems] == ["a link to nothing (case a)"] * 2
    assert all("git annex get" in problem.mend for problem in caught.value.problems)


def test_listed_names_are_checked_together(folder):
    files = {"images": ["imagesTr/a_0000.nii.gz", "imagesTr/a_0001.nii.gz"], "label": "labelsTr/a.nii.gz"}
    _write(folder, numTraining=1, dataset={"../a": files, "b\u0000": files, "c\n": files, "good": files})
    with pytest.raises(UserError) as caught:
        load_dataset(folder)
    assert [problem.found for problem in caught.value.problems] == ["../a", "'b\\x00', 'c\\n'"]


def test_files_in_folders_of_frames_that_are_no_frames_are_named(tmp_path, capsys):
    for name in ("imagesTr/v_0000/1.png", "imagesTr/v_0000/thumbs.db", "labelsTr/v/1.png", "labelsTr/v/notes.txt"):
        _touch(tmp_path / name)
    (tmp_path / "dataset.json").write_text(json.dumps({**CONTENT, "file_ending": "/", "numTraining": 1,
                                                       "channel_names": {"0": "zscore"}}))
    load_dataset(tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and "v_0000/thumbs.db (hidden, or not .png" in lines[0] and "v/notes.txt" in lines[1]


def test_cases_to_predict_go_on_without_the_bad_ones(tmp_path):
    for name in ("a_0000", "a_0001", "b_0001", "c_0000", "c_0001", "c_0002", "d_0000", os.fsdecode(b"e\xff_0000"),
                 os.fsdecode(b"e\xff_0001")):
        _touch(tmp_path / f"{name}.nii.gz")
    (tmp_path / "d_0001.nii.gz").symlink_to("nowhere")
    cases, problems = scan_images(tmp_path, ".nii.gz", 2)
    assert [case.name for case in cases] == ["a"]
    assert [problem.found for problem in problems] == [
        "'e\\udcff'", "1 link to nothing: d_0001.nii.gz", "case b lacks b_0000.nii.gz", "case c has c_0002.nii.gz"]


def test_an_image_without_number_is_wrong_for_all(tmp_path):
    _touch(tmp_path / "a_0000.nii.gz")
    _touch(tmp_path / "b.nii.gz")
    with pytest.raises(UserError, match="must be named CASE_XXXX.nii.gz"):
        scan_images(tmp_path, ".nii.gz", 1)
