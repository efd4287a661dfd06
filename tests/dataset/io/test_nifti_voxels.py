"""Voxels of NIfTI files: as stored, scaled, in either byte order, packed in any way, or refused."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from nifti_files import affine, write_nifti

from samunet.dataset.io.sitk_io import SimpleItkIO, read_file
from samunet.errors import UserError


def _volume(dtype) -> np.ndarray:
    array = np.arange(60, dtype=dtype).reshape(3, 4, 5)
    array[1, 2, 3], array[2, 0, 4], array[2, 3, 4] = np.nan, np.inf, -np.inf
    return array


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_nan_and_inf_are_at_their_places(dtype, ending, tmp_path):
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(sitk.GetImageFromArray(_volume(dtype)), str(path))
    np.testing.assert_array_equal(read_file(path)[0][0], _volume(dtype))


def test_big_endian_files(tmp_path):
    """A NIfTI-1 file written byte by byte: header of 348, 4 empty bytes, then the voxels."""
    header = bytearray(352)
    struct.pack_into(">i", header, 0, 348)
    struct.pack_into(">8h", header, 40, 3, 5, 4, 3, 1, 1, 1, 1)
    struct.pack_into(">2h", header, 70, 16, 32)
    struct.pack_into(">8f", header, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into(">3f", header, 108, 352, 1, 0)
    header[344:348] = b"n+1\0"
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(bytes(header) + _volume(">f4").tobytes()))
    np.testing.assert_array_equal(read_file(path)[0][0], _volume(np.float32))


@pytest.mark.parametrize("ending, dtype", [(".nii.gz", np.int16), (".nrrd", np.float32)])
def test_other_types_and_formats(ending, dtype, tmp_path):
    path = tmp_path / f"a{ending}"
    expected = np.arange(60, dtype=dtype).reshape(3, 4, 5)
    sitk.WriteImage(sitk.GetImageFromArray(expected), str(path))
    array, _ = read_file(path)
    assert array.dtype == dtype
    np.testing.assert_array_equal(array[0], expected)


def _stored(dtype=np.int16) -> np.ndarray:
    return np.arange(60).reshape(5, 4, 3).astype(dtype)


def _problem(path) -> UserError:
    with pytest.raises(UserError) as caught:
        read_file(path)
    assert caught.value.where == str(path)
    return caught.value


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("version", [1, 2])
def test_every_real_type_in_both_byte_orders(tmp_path, dtype, order, version):
    path = write_nifti(tmp_path / "a.nii", _stored(dtype), affine(), order=order, version=version)
    array, _ = read_file(path)
    assert array.dtype.newbyteorder("=") == np.dtype(dtype)
    np.testing.assert_array_equal(array[0], _stored().T)
    np.testing.assert_array_equal(SimpleItkIO().read_segmentation(path)[0][0], _stored().T)


@pytest.mark.parametrize("code", [1, 32, 1536, 1792, 2048, 0, 999])
def test_types_that_are_no_real_numbers_are_refused(tmp_path, code):
    problem = _problem(write_nifti(tmp_path / "a.nii", _stored("f8"), affine(), datatype=code))
    assert problem.rule.startswith("Voxels must be real numbers") and problem.found.startswith("NIfTI datatype "
                                                                                               f"{code} (")


@pytest.mark.parametrize(("code", "colours"), [(128, 3), (2304, 4)])
def test_colours_are_channels_and_no_label(tmp_path, code, colours):
    pixels = np.arange(5 * 4 * 3 * colours, dtype=np.uint8).reshape(colours, 5, 4, 3, order="F")
    path = write_nifti(tmp_path / "a.nii", pixels, affine(), datatype=code, dim=(3, 5, 4, 3, 1, 1, 1, 1))
    image, geometry = SimpleItkIO().read_images([path])
    np.testing.assert_array_equal(image, np.moveaxis(pixels, 0, -1).T)
    assert geometry.shape == (3, 4, 5)
    with pytest.raises(UserError, match="one value for each voxel"):
        SimpleItkIO().read_segmentation(path)


@pytest.mark.parametrize(("slope", "inter", "expected"),
                         [(2, -7, 2 * 13 - 7), (-1, 0, -13), (0.5, 0.25, 6.75), (0, 5, 13), (1, 0, 13), (1, 3, 16)])
@pytest.mark.parametrize("codes", [(0, 0), (1, 1)])
def test_slope_and_intercept(tmp_path, slope, inter, expected, codes):
    """With a slope of 0 the stored values count, by the standard; the codes of the forms change nothing."""
    path = write_nifti(tmp_path / "a.nii.gz", _stored(), affine(), affine(), *codes, scl_slope=slope, scl_inter=inter)
    image, _ = SimpleItkIO().read_images([path])
    assert image[0, 1, 0, 1] == expected  # x 1, y 0, z 1: stored as 13
    if codes == (1, 1):
        np.testing.assert_array_equal(image[0],
                                      sitk.GetArrayFromImage(sitk.ReadImage(str(path))) if slope else _stored().T)


def test_labels_with_a_slope(tmp_path):
    tenths = write_nifti(tmp_path / "a.nii.gz", _stored() // 20 * 10, affine(), scl_slope=0.1)
    np.testing.assert_array_equal(SimpleItkIO().read_segmentation(tenths)[0][0], (_stored() // 20).T)
    halves = write_nifti(tmp_path / "b.nii.gz", _stored(), affine(), scl_slope=0.5)
    with pytest.raises(UserError, match="whole numbers"):
        SimpleItkIO().read_segmentation(halves)


@pytest.mark.parametrize(("slope", "inter"), [(np.inf, 0), (-np.inf, 0), (1, np.inf), (2, np.nan)])
def test_an_infinite_slope_is_refused(tmp_path, slope, inter):
    problem = _problem(write_nifti(tmp_path / "a.nii", _stored(), affine(), scl_slope=slope, scl_inter=inter))
    assert problem.rule == "Slope and intercept of a NIfTI file must be finite."


def test_a_slope_of_nan_means_none_and_is_said(tmp_path, capsys):
    path = write_nifti(tmp_path / "a.nii", _stored(), affine(), scl_slope=np.nan, scl_inter=np.nan)
    np.testing.assert_array_equal(read_file(path)[0][0], _stored().T)
    assert f"slope of {path} is NaN" in capsys.readouterr().err


@pytest.mark.parametrize(("dim", "shape"), [
    ((3, 5, 4, 3), (1, 3, 4, 5)), ((4, 5, 4, 3, 1), (1, 3, 4, 5)), ((7, 5, 4, 3, 1, 1, 1, 1), (1, 3, 4, 5)),
    ((2, 5, 12), (1, 1, 12, 5)),
    ((4, 5, 4, 1, 3), (3, 1, 4, 5)), ((5, 5, 4, 1, 1, 3), (3, 1, 4, 5)), ((5, 5, 4, 1, 3, 1), (3, 1, 4, 5)),
    ((3, 60, 1, 1), (1, 1, 1, 60)),
])
def test_axes_of_one_are_no_trouble_and_time_or_vectors_are_channels(tmp_path, dim, shape):
    path = write_nifti(tmp_path / "a.nii", _stored(), affine(), dim=(*dim, *[1] * (8 - len(dim))), xyzt_units=2 + 16)
    array, geometry = read_file(path)
    assert array.shape == shape and geometry.shape == shape[1:]
    np.testing.assert_array_equal(array.ravel(), _stored().ravel(order="F"))


@pytest.mark.parametrize("dim", [(1, 60), (5, 5, 2, 1, 3, 2), (7, 5, 4, 1, 1, 1, 1, 3), (0, 5, 4, 3), (3, 5, -4, 3),
                                 (3, 5, 4, 0), (9, 5)])
def test_other_axes_are_refused(tmp_path, dim):
    problem = _problem(write_nifti(tmp_path / "a.nii", _stored(), affine(), dim=(*dim, *[1] * (8 - len(dim)))))
    assert "2 to 4 dimensions" in problem.rule or f"{list(dim)}"[1:-1] in problem.found


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_header_that_promises_the_impossible_is_refused_before_memory_is_taken(tmp_path, ending):
    problem = _problem(write_nifti(tmp_path / f"a{ending}", _stored(), affine(),
                                   dim=(3, 30000, 30000, 30000, 1, 1, 1, 1)))
    assert problem.found.startswith("at most ") and problem.found.endswith(f"of {352 + 2 * 30000**3}")


@pytest.mark.parametrize("fields", [{"magic": b"ni1"}, {"magic": b""}, {"vox_offset": 100}, {"vox_offset": np.nan},
                                    {"vox_offset": 352.5}])
def test_pairs_and_misplaced_voxels_are_refused(tmp_path, fields):
    problem = _problem(write_nifti(tmp_path / "a.nii", _stored(), affine(), **fields))
    assert ("together" in problem.rule) == ("magic" in fields)


def test_gzip_is_known_by_content_not_by_name(tmp_path):
    plain, packed = (write_nifti(tmp_path / name, _stored(), affine()) for name in ("a.nii", "a.nii.gz"))
    plain_bytes, packed_bytes = plain.read_bytes(), packed.read_bytes()
    plain.write_bytes(packed_bytes), packed.write_bytes(plain_bytes)
    for path in (plain, packed):
        np.testing.assert_array_equal(read_file(path)[0][0], _stored().T)


def test_streams_in_members_and_with_padding_are_read_and_damage_is_found(tmp_path):
    path = write_nifti(tmp_path / "a.nii", _stored(), affine())
    content = path.read_bytes()
    members = tmp_path / "a.nii.gz"
    members.write_bytes(gzip.compress(content[:100]) + gzip.compress(content[100:]) + bytes(512))
    np.testing.assert_array_equal(read_file(members)[0][0], _stored().T)
    damaged = bytearray(gzip.compress(content, 0))
    damaged[-40] ^= 1  # a voxel, which is stored as it is: only the checksum can tell
    members.write_bytes(damaged)
    assert _problem(members).rule.startswith("An image or label file must be readable")
    members.write_bytes(gzip.compress(content)[:-4])
    assert "cut off" in _problem(members).found
    members.write_bytes(gzip.compress(content) + b"text")
    assert "follows" in _problem(members).found
