"""Overlays of a benchmark's report."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.benchmarking.overlays import case_overlay
from samunet.errors import UserError


def written(path: Path, array: np.ndarray, flipped: bool = False) -> Path:
    image = sitk.GetImageFromArray(array)
    sitk.WriteImage(sitk.Flip(image, [True, False, False]) if flipped else image, str(path))
    return path


def test_a_reference_along_other_axes_gives_the_same_images(tmp_path):
    random = np.random.default_rng(0)
    image = written(tmp_path / "image.nii.gz", random.normal(size=(3, 20, 16)).astype(np.float32))
    labels = random.integers(0, 3, (3, 20, 16)).astype(np.uint8)
    prediction = written(tmp_path / "prediction.nii.gz", labels)
    pictures = [case_overlay("", [image], prediction, written(tmp_path / f"reference{flipped}.nii.gz", labels, flipped),
                             "SimpleITKIO")
                for flipped in (False, True)]
    assert pictures[0].slices == pictures[1].slices


def test_a_reference_of_another_shape_is_refused(tmp_path):
    image = written(tmp_path / "image.nii.gz", np.ones((3, 20, 16), np.float32))
    labels = [written(tmp_path / f"{size}.nii.gz", np.ones((3, 20, size), np.uint8)) for size in (16, 17)]
    with pytest.raises(UserError, match="its image's shape") as fault:
        case_overlay("", [image], *labels, "SimpleITKIO")
    assert fault.value.where == str(labels[1])
