"""Whatever dataset.json holds: it loads to a dataset whose parts agree, or a UserError names the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from json_values import REPEATED, VALUES, changed

from samunet.dataset.dataset import load_dataset
from samunet.errors import UserError

SOUND = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "A": 1, "B": [2, 3], "C": 3, "ignore": 4},
         "regions_class_order": [1, 2, 3],
         "numTraining": 2, "file_ending": ".nii.gz", "unlabelled": ["c1"],
         "overwrite_image_reader_writer": "SimpleITKIO"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two cases whose files need only exist."""
    folder = tmp_path_factory.mktemp("raw") / "Dataset005_Any"
    for name in ("imagesTr/c0_0000.nii.gz", "imagesTr/c1_0000.nii.gz", "labelsTr/c0.nii.gz"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def check(folder: Path, content: object) -> None:
    file = folder / "dataset.json"
    file.write_text(json.dumps(content))
    try:
        dataset = load_dataset(folder)
    except UserError as fault:
        assert "dataset.json" in str(fault) or str(folder) in str(fault)
        return
    labels = dataset.labels
    assert labels.values[0] == 0 and list(labels.values) == list(range(len(labels.values)))
    assert all(type(value) is int for value in labels.values)
    assert labels.ignore is None or labels.ignore == len(labels.values)
    assert len(labels.foreground) == len(set(labels.foreground)) and labels.channels >= 1
    assert not labels.has_regions or (labels.regions_class_order is not None
                                      and len(labels.regions_class_order) == len(labels.foreground)
                                      and set(labels.regions_class_order) <= set(labels.values))
    assert dataset.channel_names and all(isinstance(name, str) for name in dataset.channel_names)
    assert len(dataset.cases) == content["numTraining"] >= 1
    assert all((case.label is None) == (case.name in dataset.unlabelled) for case in dataset.cases)
    assert dataset.unlabelled <= {case.name for case in dataset.cases}


def test_the_sound_one_loads(folder: Path) -> None:
    (folder / "dataset.json").write_text(json.dumps(SOUND))
    dataset = load_dataset(folder)
    assert [case.name for case in dataset.cases] == ["c0", "c1"]
    assert dataset.labels.foreground == (1, (2, 3), 3) and dataset.labels.ignore == 4


@REPEATED
@given(content=changed(SOUND))
def test_a_changed_dataset_json_is_refused_or_agrees_with_itself(folder: Path, content: object) -> None:
    check(folder, content)


@REPEATED
@given(content=VALUES)
def test_any_json_is_refused_or_agrees_with_itself(folder: Path, content: object) -> None:
    check(folder, content)
