"""Grids that cannot be, in the formats that SimpleITK reads."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.dataset.io.sitk_io import SimpleItkIO
from samunet.errors import UserError

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
LPS = "space: left-posterior-superior"


def _mha(path, **fields):
    header = {"ObjectType": "Image", "NDims": 3, "BinaryData": "True", "TransformMatrix": "1 0 0 0 1 0 0 0 1",
              "Offset": "1 2 3",
              "ElementSpacing": "0.5 1 2", "DimSize": "4 3 2", "ElementType": "MET_SHORT", **fields,
              "ElementDataFile": "LOCAL"}
    path.write_bytes("".join(f"{key} = {value}\n" for key, value in header.items()).encode() + VOXELS.tobytes())
    return path


def _nrrd(path, *lines):
    header = ("NRRD0004", "type: short", "dimension: 3", "sizes: 4 3 2", "encoding: raw", "endian: little", *lines)
    path.write_bytes("\n".join((*header, "", "")).encode() + VOXELS.tobytes())
    return path


def _gipl(path, place, form, value):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(path))
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, place, value)
    path.write_bytes(content)
    return path


def _problem(path) -> UserError:
    with pytest.raises(UserError) as caught:
        SimpleItkIO().read_images([path])
    assert caught.value.where == str(path) and "truncated" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("value", ["0 1 1", "nan 1 1", "1 inf 1", "1e30 1 1", "1 1 1e-4"])
def test_spacing_of_metaimage(tmp_path, value):
    assert "spacing" in str(_problem(_mha(tmp_path / "a_0000.mha", ElementSpacing=value))).lower()


@pytest.mark.parametrize("value", ["nan 1 1", "1e30 1 1", "1 1 1e-4"])
def test_spacing_of_nrrd(tmp_path, value):
    assert "spacing" in str(_problem(_nrrd(tmp_path / "a_0000.nrrd", f"spacings: {value}"))).lower()


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e30])
def test_spacing_of_gipl(tmp_path, value):
    assert _problem(_gipl(tmp_path / "a_0000.gipl", 10, ">f", value)).rule.startswith("The spacing of")


def test_origins_that_are_not_finite_or_far_away(tmp_path):
    assert _problem(_mha(tmp_path / "a_0000.mha", Offset="nan 0 0")).found == "offset: nan 0 0"
    assert _problem(_mha(tmp_path / "b_0000.mha", Offset="1e30 0 0")).rule.startswith("The origin of")
    assert _problem(_gipl(tmp_path / "a_0000.gipl", 204, ">d", np.nan)).rule.startswith("The origin of")


def test_directions_of_another_length(tmp_path):
    assert _problem(_mha(tmp_path / "a_0000.mha", TransformMatrix="2 0 0 0 1 0 0 0 1")).rule.startswith("The axes of")


def test_micrometres_of_nrrd_are_refused_because_itk_ignores_them(tmp_path):
    lines = (LPS, "space directions: (1,0,0) (0,1,0) (0,0,1)")
    assert '"um"' in _problem(_nrrd(tmp_path / "a_0000.nrrd", *lines, 'space units: "um" "um" "um"')).found
    assert '"um"' in _problem(_nrrd(tmp_path / "b_0000.nrrd", "spacings: 1 1 1", 'units: "um" "um" "um"')).found
    SimpleItkIO().read_images([_nrrd(tmp_path / "c_0000.nrrd", *lines, 'space units: "mm" "mm" "mm"')])


def test_sound_headers_are_placed_as_they_say(tmp_path, capsys):
    _, geometry = SimpleItkIO().read_images([_mha(tmp_path / "a_0000.mha")])
    assert (geometry.spacing_mm, geometry.origin) == ((2, 1, 0.5), (1, 2, 3))
    _, geometry = SimpleItkIO().read_images([_nrrd(tmp_path / "a_0000.nrrd", LPS,
                                                   "space directions: (0.5,0,0) (0,1,0) (0,0,2)",
                                                   "space origin: (1,2,3)", "content: an infant (nan)")])
    assert (geometry.spacing_mm, geometry.origin) == ((2, 1, 0.5), (1, 2, 3))
    assert capsys.readouterr().err == ""


def test_a_sheared_nrrd_is_read_with_a_warning_and_written_back(tmp_path, capsys):
    path = _nrrd(tmp_path / "a_0000.nrrd", LPS, "space directions: (1,0,0) (0.2,1,0) (0,0,2)")
    _, geometry = SimpleItkIO().read_images([path])
    assert "up to 11.3 degrees" in capsys.readouterr().err  # atan 0.2
    SimpleItkIO().write_segmentation(VOXELS.astype(np.uint8), tmp_path / "a.nrrd", geometry)
    image, result = sitk.ReadImage(str(path)), sitk.ReadImage(str(tmp_path / "a.nrrd"))
    np.testing.assert_allclose(result.GetDirection(), image.GetDirection(), atol=1e-6)


def test_complex_voxels_are_refused(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS + 1j * VOXELS), str(tmp_path / "a_0000.nrrd"))
    assert _problem(tmp_path / "a_0000.nrrd").rule == "Voxels must be real numbers."
    with pytest.raises(UserError, match="real numbers"):
        SimpleItkIO().read_segmentation(tmp_path / "a_0000.nrrd")


def test_files_of_a_pair_are_refused(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / "a_0000.hdr"))
    assert "one file" in _problem(tmp_path / "a_0000.hdr").rule and "one file" in _problem(tmp_path / "a_0000.img").rule
