from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

from samunet.dataset.dataset import RawCase, RawDataset
from samunet.dataset.io.readers import choose_reader, reader_named
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError


def _dataset(image: Path, file_ending: str, reader: str | None = None) -> RawDataset:
    labels = LabelSpace({"background": 0, "a": 1})
    return RawDataset(Path("d"), "d", labels, ("x",), file_ending, reader, (RawCase("a", (image,), None),), frozenset(),
                      {})


@pytest.mark.parametrize("name", ["SimpleITKIO", "NaturalImage2DIO", "Tiff3DIO"])
def test_names_are_nnunets(name):
    assert reader_named(name).name == name


@pytest.mark.parametrize(("name", "expected"), [
    ("NibabelIO", "SimpleITKIO"), *[(name, name) for name in ("NibabelIOWithReorient", "SimpleITKIOWithReorient")],
])
def test_nnunets_names_do_what_they_say(name, expected):
    assert reader_named(name).name == expected
    assert choose_reader(_dataset(Path("a_0000.nii.gz"), ".nii.gz", name)) == expected


def test_nibabel_and_simpleitk_have_the_same_axes(tmp_path):
    from nnunetv2.imageio.nibabel_reader_writer import NibabelIO
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    properties = {"sitk_stuff": {"spacing": (1, 2, 3), "origin": (4, 5, 6), "direction": (1, 0, 0, 0, 1, 0, 0, 0, 1)}}
    SimpleITKIO().write_seg(array, str(tmp_path / "a.nii.gz"), properties)
    image, geometry = reader_named("NibabelIO").read_images([tmp_path / "a.nii.gz"])
    expected, found = NibabelIO().read_images([str(tmp_path / "a.nii.gz")])
    np.testing.assert_array_equal(image, expected)
    assert list(geometry.spacing_mm) == list(found["spacing"])


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha", ".gipl", ".png", ".bmp", ".tiff"])
def test_chosen_by_ending_as_nnunet_does(ending):
    expected = determine_reader_writer_from_dataset_json({"file_ending": ending}, verbose=False).__name__
    assert choose_reader(_dataset(Path(f"a_0000{ending}"), ending)) == expected


def test_nii_is_read_by_simpleitk():
    assert choose_reader(_dataset(Path("a_0000.nii"), ".nii")) == "SimpleITKIO"


@pytest.mark.parametrize(("shape", "expected"), [
    ((8, 9), "NaturalImage2DIO"), ((8, 9, 3), "NaturalImage2DIO"), ((6, 8, 9), "Tiff3DIO"),
])
def test_tif_by_its_shape_as_nnunet_does(tmp_path, shape, expected, capsys):
    path = tmp_path / "a_0000.tif"
    tifffile.imwrite(path, np.zeros(shape, np.uint8))
    assert choose_reader(_dataset(path, ".tif")) == expected
    theirs = determine_reader_writer_from_dataset_json({"file_ending": ".tif"}, str(path), verbose=False)
    assert theirs.__name__ == expected


def test_unknown_reader_lists_the_known():
    with pytest.raises(UserError, match="NaturalImage2DIO.*SimpleITKIO.*Tiff3DIO"):
        choose_reader(_dataset(Path("a_0000.nii.gz"), ".nii.gz", "DicomIO"))


def test_unknown_ending_lists_the_known():
    with pytest.raises(UserError, match=".nii.gz, .nii, .nrrd"):
        choose_reader(_dataset(Path("a_0000.jpg"), ".jpg"))
