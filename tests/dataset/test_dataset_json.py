"""Each kind of wrong content of dataset.json is one message, with what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from samunet.dataset.dataset_json import dataset_json_in, parse
from samunet.errors import UserError

SOUND = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "organ": 1}, "numTraining": 2,
         "file_ending": ".nii.gz"}
WHERE = Path("raw/dataset.json")


def fault(content) -> UserError:
    with pytest.raises(UserError) as caught:
        parse(content, WHERE)
    return caught.value


def test_sound_content():
    described = parse({**SOUND, "unlabelled": ["a"], "overwrite_image_reader_writer": "None"}, WHERE)
    assert (described.channel_names, described.file_ending, described.reader, described.training_cases,
            described.unlabelled) == (
("T1", "T2"), ".nii.gz", None, 2, {"a"})


def test_nnunet_v1_is_reported_at_once_with_how_labels_are_written():
    old = {"name": "old", "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "left"}, "numTraining": 3,
           "training": []}
    problems = fault(old).problems
    assert [problem.rule for problem in problems] == [
        "`labels` in dataset.json must map name to value.", "dataset.json must have `file_ending`."]
    assert '{"background": 0, "left": 1}' in problems[0].mend
    assert problems[1].found == "the keys name, modality, labels, numTraining, training"


@pytest.mark.parametrize(("changes", "rule", "found"), [
    ({"file_ending": "nii.gz"}, "`file_ending` in dataset.json must begin with a dot.", '"nii.gz"'),
    ({"file_ending": ""}, "dataset.json must have `file_ending`.", '""'),
    ({"file_ending": ".xyz"}, "must be one that samunet reads", ".xyz"),
    ({"file_ending": ["nii"]}, "dataset.json must have `file_ending`.", '["nii"]'),
    ({"numTraining": True}, "dataset.json must have `numTraining`.", "true"),
    ({"numTraining": 2.0}, "dataset.json must have `numTraining`.", "2.0"),
    ({"numTraining": "2"}, "dataset.json must have `numTraining`.", '"2"'),
    ({"channel_names": ["CT"]}, "dataset.json must have `channel_names`.", '["CT"]'),
    ({"channel_names": {}}, "must number the channels from 0", "{}"),
    ({"channel_names": {"0": "CT", "00": "CT"}}, "must number the channels from 0", '{"0": "CT", "00": "CT"}'),
    ({"channel_names": {"0": ""}}, "Every channel in `channel_names` of dataset.json must have a name.", '""'),
    ({"channel_names": {"0": None}}, "Every channel in `channel_names` of dataset.json must have a name.", "null"),
    ({"labels": ["a"]}, "dataset.json must have `labels`.", '["a"]'),
    ({"unlabelled": "a"}, "`unlabelled` in dataset.json must be a list", '"a"'),
    ({"unlabelled": [1]}, "`unlabelled` in dataset.json must be a list", "[1]"),
    ({"dataset": []}, "`dataset` in dataset.json must map case names", "[]"),
    ({"overwrite_image_reader_writer": "NaturalImage2DIO"}, "must read files with the `file_ending`",
     "NaturalImage2DIO for .nii.gz"),
    ({"overwrite_image_reader_writer": "Tiff3DIO"}, "must read files with the `file_ending`", "Tiff3DIO for .nii.gz"),
    ({"overwrite_image_reader_writer": "SimpleITKIO", "file_ending": "/"}, "must read files with the `file_ending`",
     "SimpleITKIO for /"),
])
def test_wrong_content(changes, rule, found):
    problem = fault({**SOUND, **changes})
    assert rule in problem.rule and problem.found == found and problem.where == str(WHERE) and problem.mend


def test_an_ending_without_dot_is_written_right_in_the_remedy():
    assert fault({**SOUND, "file_ending": "nii.gz"}).mend == 'Write ".nii.gz".'


def test_a_reader_by_name_may_read_further_formats():
    assert parse({**SOUND, "file_ending": ".mhd", "overwrite_image_reader_writer": "SimpleITKIO"},
                 WHERE).file_ending == ".mhd"


@pytest.mark.parametrize("content", [[], "text", None, 3])
def test_no_object(content):
    assert fault(content).rule == "dataset.json must hold an object."


def test_nothing_at_all_is_four_problems():
    assert [problem.rule for problem in fault({}).problems] == [
        f"dataset.json must have `{key}`." for key in ("channel_names", "labels", "numTraining", "file_ending")]


def test_a_folder_of_segmentations_that_is_not_there_is_not_one_without_dataset_json(tmp_path):
    with pytest.raises(UserError, match="The folder of segmentations must exist"):
        dataset_json_in(tmp_path / "missing")
    with pytest.raises(UserError, match="must hold dataset.json"):
        dataset_json_in(tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    assert dataset_json_in(tmp_path) == tmp_path / "dataset.json"
