"""Folders of references and predictions for tests of evaluation, and comparison of their summaries."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.dataset.labels import LabelSpace

PLAIN = {"background": 0, "a": 1, "b": 2, "stray": 3, "never": 4}
IGNORE = {**PLAIN, "ignore": 5}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "stray": 3, "never": [4]}
REGIONS_IGNORE = {**REGIONS, "ignore": 5}


def space(labels: dict, order: list[int] | None = None) -> LabelSpace:
    return LabelSpace.from_dataset_json({"labels": labels, "regions_class_order": order})


def write(path: Path, array: np.ndarray, spacing_xyz: tuple[float, ...] = (1.0, 2.0, 5.0)) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    image = sitk.GetImageFromArray(array.astype(np.uint8))
    image.SetSpacing(spacing_xyz[: array.ndim])
    sitk.WriteImage(image, str(path))


def folders(root: Path, ignore: int | None = None, cases: int = 4) -> tuple[Path, Path]:
    """Random label blocks: case 0 all background, case 1 with an empty prediction; label 3 is only ever predicted."""
    shape = (3, 8, 6)
    for number in range(cases):
        random = np.random.default_rng([number])
        reference, prediction = (np.kron(random.integers(0, 4, (3, 4, 3)), np.ones((1, 2, 2))) for _ in range(2))
        reference[reference == 3] = 1
        if number == 0:
            reference, prediction = np.zeros(shape), np.zeros(shape)
        if number == 1:
            prediction = np.zeros(shape)
        if ignore is not None:
            reference[random.random(shape) > 0.8] = ignore
        write(root / "reference" / f"case_{number}.nii.gz", reference)
        write(root / "prediction" / f"case_{number}.nii.gz", prediction)
    return root / "reference", root / "prediction"


def strict(path: Path) -> dict:
    def refuse(constant: str):
        raise AssertionError(f"{path.name} holds a bare {constant}")

    return json.loads(path.read_text(), parse_constant=refuse)


def assert_equal(ours, theirs, where: str = "") -> None:
    assert type(ours) is type(theirs), where
    if isinstance(theirs, dict):
        assert list(ours) == list(theirs), where
        for key in theirs:
            assert_equal(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_equal(one, other, f"{where}/{number}")
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, abs=1e-6, nan_ok=True), where
    else:
        assert ours == theirs, where
