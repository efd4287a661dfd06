"""Cases that cannot be preprocessed are reported together; the others are preprocessed, and stay."""

from __future__ import annotations

import pytest
from raw_datasets import damage, plans, raw_dataset, stamps

from samunet.dataset.dataset import load_dataset
from samunet.errors import BadCases
from samunet.preprocessing.preprocess import preprocess_dataset
from samunet.preprocessing.store import ArrayStore


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_cases_are_told_together_the_others_are_made_and_kept(tmp_path, workers):
    folder, arrays = raw_dataset(tmp_path, 4), tmp_path / "arrays"
    image, label = folder / "imagesTr" / "case_0_0000.nii.gz", folder / "labelsTr" / "case_2.nii.gz"
    whole = damage(image), damage(label)
    with pytest.raises(BadCases) as caught:
        preprocess_dataset(load_dataset(folder), plans(), arrays, workers)
    assert [problem.where for problem in caught.value.problems] == [str(image), str(label)]
    assert ArrayStore(arrays).names() == ["case_1", "case_3"]
    before = stamps(arrays)
    image.write_bytes(whole[0])
    label.write_bytes(whole[1])
    assert preprocess_dataset(load_dataset(folder), plans(), arrays,
                              workers).names() == [f"case_{number}" for number in range(4)]
    after = stamps(arrays)
    assert {name: after[name] for name in before} == before


def test_arrays_of_a_file_that_is_damaged_now_are_not_used_on(tmp_path):
    folder, arrays = raw_dataset(tmp_path), tmp_path / "arrays"
    preprocess_dataset(load_dataset(folder), plans(), arrays, 1)
    damage(folder / "imagesTr" / "case_1_0000.nii.gz")
    with pytest.raises(BadCases):
        preprocess_dataset(load_dataset(folder), plans(), arrays, 1)
    assert ArrayStore(arrays).names() == ["case_0", "case_2"]
    assert not [path for path in arrays.iterdir() if path.name.startswith("case_1")]


def test_a_file_that_cannot_be_read_is_a_bad_case(tmp_path, monkeypatch):
    folder, arrays = raw_dataset(tmp_path), tmp_path / "arrays"
    closed = folder / "imagesTr" / "case_1_0000.nii.gz"

    def digest(path):
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return "0" * 64

    monkeypatch.setattr("samunet.dataset.case_files.digest_of_path", digest)
    with pytest.raises(BadCases, match="must be readable") as caught:
        preprocess_dataset(load_dataset(folder), plans(), arrays, 1)
    assert caught.value.where == str(closed) and caught.value.found == "Permission denied"
    assert ArrayStore(arrays).names() == ["case_0", "case_2"]
