"""A raw dataset of nnU-Net v1, converted by samunet and by nnU-Net."""

from __future__ import annotations

import json

import pytest
from old_datasets import files_of, old_nnunet_task

from samunet.cli.convert_old_nnUNet_dataset import main
from samunet.dataset.conversion.old_nnunet import convert_old_nnunet
from samunet.dataset.dataset import load_dataset
from samunet.errors import UserError

NAME = "Dataset105_Two"


def test_the_files_are_those_of_nnunet(tmp_path, paths, theirs):
    from nnunetv2.dataset_conversion.convert_raw_dataset_from_old_nnunet_format import convert

    source = old_nnunet_task(tmp_path)
    convert(str(source), NAME)
    assert main([str(source), NAME, "--raw", str(paths.raw), "--preprocessed", str(paths.preprocessed), "--results",
                 str(paths.results)]) == 0
    ours, other = files_of(paths.raw), files_of(theirs)
    assert list(ours) == list(other) and f"{NAME}/imagesTs/c_0001.nii.gz" in ours
    description = f"{NAME}/dataset.json"
    assert json.loads(ours.pop(description)) == json.loads(other.pop(description))
    assert ours == other
    assert load_dataset(paths.raw / NAME).channel_names == ("MRI0", "MRI1")


def test_hidden_files_stay_behind_and_keys_may_be_missing_already(tmp_path, paths):
    source = old_nnunet_task(tmp_path)
    (source / "imagesTr" / "._b_0000.nii.gz").write_bytes(b"macOS")
    content = json.loads((source / "dataset.json").read_text())
    del content["tensorImageSize"]
    (source / "dataset.json").write_text(json.dumps(content))
    target = convert_old_nnunet(source, NAME, paths)
    assert "imagesTr/._b_0000.nii.gz" not in files_of(target)
    assert json.loads((target / "dataset.json").read_text())["labels"] == {"background": 0, "edge": 1}


@pytest.mark.parametrize(
    "file, name, message",
    [
        ("imagesTr/b_0001.nii.gz", NAME, "lacks b_0001.nii.gz"),
        ("labelsTr/b.nii.gz", NAME, "missing: b"),
        ("imagesTs/none", "Task105_Two", "DatasetXXX_NAME"),
        ("imagesTs/none", "Dataset105_a/../b", "DatasetXXX_NAME"),
    ],
)
def test_bad_input_changes_nothing(tmp_path, paths, file, name, message):
    source = old_nnunet_task(tmp_path)
    (source / file).unlink(missing_ok=True)
    before = files_of(tmp_path)
    with pytest.raises(UserError, match=message):
        convert_old_nnunet(source, name, paths)
    assert files_of(tmp_path) == before
