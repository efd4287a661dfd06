"""Figures of the study of a mixed ensemble, by hand."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import SimpleITK as sitk


@pytest.fixture
def study(script) -> ModuleType:
    return script("mixed_ensemble")


def test_the_ensemble_is_paired_with_each_of_the_two(study: ModuleType) -> None:
    dice = {"hybrid": {"a": 0.8, "b": 0.6}, "nnunet_2d": {"a": 0.7, "b": 0.7}, "mixed ensemble": {"a": 0.9, "b": 0.7}}
    found = study.compared(dice, {"a": "p", "b": "p"})  # one patient, so every resample is the same
    assert found["dice"]["mixed ensemble"] == pytest.approx({"mean": 0.8, "low": 0.8, "high": 0.8})
    assert {name: each["mean"] for name, each in found["gain"].items()} == pytest.approx(
        {"hybrid": 0.1, "nnunet_2d": 0.1})
    two = study.compared(dice, {"a": "p", "b": "q"})["gain"]  # +0.1 in both patients; +0.2 and 0 against nnU-Net
    assert two["hybrid"] == pytest.approx({"mean": 0.1, "low": 0.1, "high": 0.1})
    assert two["nnunet_2d"] == pytest.approx({"mean": 0.1, "low": 0.0, "high": 0.2})


def test_differing_voxels_are_counted_over_all_cases(study: ModuleType, tmp_path: Path) -> None:
    for folder, changed in (("one", 0), ("other", 2)):
        (tmp_path / folder).mkdir()
        for name, shape in (("a", (2, 3, 4)), ("b", (1, 2, 3))):
            voxels = np.zeros(shape, np.uint8)
            voxels[0, 0, :changed if name == "a" else changed // 2] = 1
            sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / folder / f"{name}.nii.gz"))
    assert study.differing_voxels(tmp_path / "one", tmp_path / "other", ".nii.gz") == (3, 30)
    (tmp_path / "other" / "b.nii.gz").unlink()
    with pytest.raises(ValueError, match="different cases"):
        study.differing_voxels(tmp_path / "one", tmp_path / "other", ".nii.gz")
