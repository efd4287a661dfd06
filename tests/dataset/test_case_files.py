"""Which files are read of a case, and their digests."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from samunet.dataset.case_files import digests_of_case, image_files, label_files
from samunet.dataset.dataset import RawCase


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def case(tmp_path: Path) -> RawCase:
    """Two channels and a label, whose content is their name."""
    for name in ("a_0000.tif", "a_0001.tif", "labels/a.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return RawCase("a", (tmp_path / "a_0000.tif", tmp_path / "a_0001.tif"), tmp_path / "labels" / "a.tif")


def test_a_3d_tiff_s_spacing_files_stand_beside_image_and_label(case, tmp_path):
    assert image_files(case.images, "Tiff3DIO") == [*case.images, tmp_path / "a.json"]
    assert label_files(case.label, "Tiff3DIO") == [case.label, tmp_path / "labels" / "a.json"]
    assert image_files(case.images, "NaturalImage2DIO") == list(case.images)
    assert label_files(case.label, "NaturalImage2DIO") == [case.label]


def test_spacing_files_or_their_absence_count_for_3d_tiffs_alone(case, tmp_path):
    files = {"images": [sha("a_0000.tif"), sha("a_0001.tif")], "label": sha("labels/a.tif")}
    assert digests_of_case(case, "Tiff3DIO") == {**files, "spacings": [None, None]}
    (tmp_path / "a.json").write_text("image's")
    (tmp_path / "labels" / "a.json").write_text("label's")
    assert digests_of_case(case, "Tiff3DIO") == {**files, "spacings": [sha("image's"), sha("label's")]}
    assert digests_of_case(RawCase("a", case.images, None), "Tiff3DIO")["spacings"] == [sha("image's")]
    assert digests_of_case(case, "NaturalImage2DIO") == files
