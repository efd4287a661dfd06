"""The files of a place's cases: image and label to train, image to predict, its reference and prediction."""

from __future__ import annotations

from pathlib import Path

from tests.faults.place import Place


def train_image(place: Place, case: str = "c1") -> Path:
    return place.dataset / "imagesTr" / f"{case}_0000.nii.gz"


def train_label(place: Place, case: str = "c1") -> Path:
    return place.dataset / "labelsTr" / f"{case}.nii.gz"


def test_image(place: Place) -> Path:
    return place.dataset / "imagesTs" / "c6_0000.nii.gz"


def test_label(place: Place) -> Path:
    return place.dataset / "labelsTs" / "c6.nii.gz"


def prediction(place: Place) -> Path:
    return place.path("out", "c6.nii.gz")
