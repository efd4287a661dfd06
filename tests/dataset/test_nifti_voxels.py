"""Voxels of NIfTI files: as stored, scaled, in either byte order, packed in any way, or refused."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.dataset.sitk_io import read_file


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
