"""Shifts of a case by hand, and the splits of sources and targets by patient."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk

SPACING = (1.0, 2.0, 1.5)  # x, y, z


def write(array: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """40 patients of two cases each, every other one in bytes; slice z has the value 10 z + 1, and label z % 2."""
    folder = tmp_path / "Dataset004_Source"
    lines = ["case,patient"]
    slices = np.repeat(np.arange(7), 6).reshape(7, 2, 3)
    for number in range(80):
        kind = np.uint8 if number // 2 % 2 else np.float32
        write((10 * slices + 1).astype(kind), folder / "imagesTr" / f"case_{number:03d}_0000.nii.gz")
        write((slices % 2).astype(np.uint8), folder / "labelsTr" / f"case_{number:03d}.nii.gz")
        lines.append(f"case_{number:03d},p{number // 2:02d}")
    (folder / "groups.csv").write_text("\n".join(lines) + "\n")
    (folder / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, "a": 1}, "numTraining": 80,
        "file_ending": ".nii.gz"}))
    return folder


def test_no_patient_is_on_two_sides_and_none_of_fold_0_anywhere(
    source: Path, tmp_path: Path, script: Callable[[str], ModuleType]
) -> None:
    module = script("shifted_cases")
    target = module.make_dataset(source, tmp_path / "raw", test=3)
    splits = json.loads((target / "splits_final.json").read_text())
    with (target / "groups.csv").open() as stream:
        patients = {row["case"]: row["patient"] for row in csv.DictReader(stream)}
    names = sorted(patients)
    assert [path.name.removesuffix("_0000.nii.gz") for path in sorted((target / "imagesTr").iterdir())] == names
    assert len(splits) == 1 + 6 * 2
    for split in splits:
        assert not {patients[name] for name in split["train"]} & {patients[name] for name in split["val"]}
    from samunet.planning.splits import make_splits

    cases = [f"case_{number:03d}" for number in range(80)]
    held_out = {f"p{int(name[-3:]) // 2:02d}"
                for name in make_splits(cases, {n: f"p{int(n[-3:]) // 2:02d}" for n in cases})[0]["val"]}
    assert len(held_out) == 8 and not held_out & set(patients.values())
    assert all(int(patients[name][1:]) % 2 == 0 for name in splits[0]["train"])  # float32 alone
    assert [len(splits[int(module.fold_of("thick", count))]["train"]) for count in (1, 5)] == [1, 5]
    assert {module.shift_of(name) for name in splits[int(module.fold_of("noise", 5))]["val"]} == {"noise"}


def test_each_shift_by_hand(source: Path, tmp_path: Path, script: Callable[[str], ModuleType]) -> None:
    target = script("shifted_cases").make_dataset(source, tmp_path / "raw", test=1)

    def read(kind: str, folder: str) -> sitk.Image:
        return sitk.ReadImage(str(next((target / folder).glob(f"*__{kind}*"))))

    values = sitk.GetArrayFromImage(read("inverted", "imagesTr"))
    assert values[:, 0, 0].tolist() == [61, 51, 41, 31, 21, 11, 1]
    thick, labels = read("thick", "imagesTr"), read("thick", "labelsTr")
    # means of slices 0 to 2 and 3 to 5; 6 is left over
    assert sitk.GetArrayFromImage(thick)[:, 0, 0].tolist() == [11, 41]
    assert sitk.GetArrayFromImage(labels)[:, 0, 0].tolist() == [1, 0]  # of slices 1 and 4
    assert thick.GetSpacing() == labels.GetSpacing() == (1.0, 2.0, 4.5) and thick.GetOrigin() == (0.0, 0.0, 1.5)
    assert sitk.GetArrayFromImage(read("unchanged", "imagesTr"))[:, 0, 0].tolist() == [1, 11, 21, 31, 41, 51, 61]
    assert read("uint8", "imagesTr").GetPixelID() == sitk.sitkUInt8
    ratio = sitk.GetArrayFromImage(read("bias", "imagesTr")) / (10 * np.arange(7)[:, None, None] + 1)
    assert np.log(ratio).std() == pytest.approx(0.4, abs=1e-4)
