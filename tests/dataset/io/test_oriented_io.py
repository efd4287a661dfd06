"""Arrays turned to RAS, results on the file's own grid; equal to nnU-Net's readers of the same names."""

from __future__ import annotations

from itertools import permutations, product

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.orientations import apply_orientation, inv_ornt_aff
from nifti_files import affine, header_of, write_nifti
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO, SimpleITKIOWithReorient

from samunet.dataset.geometry import Geometry
from samunet.dataset.io.readers import reader_named
from samunet.dataset.nnunet_properties import ras_affine_mm, reader_properties
from samunet.errors import UserError

SCAN = np.random.default_rng(0).integers(0, 900, (4, 5, 6)).astype(np.int16)  # (x, y, z), in RAS
OBLIQUE = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
THEIRS = {"NibabelIO": NibabelIO, "SimpleITKIO": SimpleITKIO, "NibabelIOWithReorient": NibabelIOWithReorient,
          "SimpleITKIOWithReorient": SimpleITKIOWithReorient}
ORIENTATIONS = [np.column_stack([axes, signs]) for axes in permutations(range(3))
                for signs in product((1, -1), repeat=3)]
SOME = ORIENTATIONS[::7]


def _store(path, orientation, turn=OBLIQUE, spacing=(0.7, 1.1, 2.5)):
    """`SCAN` under the axes of `orientation` (nibabel's), at the same place in space."""
    matrix = turn @ affine(spacing)
    matrix = matrix @ inv_ornt_aff(orientation, SCAN.shape)
    return write_nifti(path, np.ascontiguousarray(apply_orientation(SCAN, orientation)), matrix, matrix, xyzt_units=10)


@pytest.mark.parametrize("name", ["NibabelIOWithReorient", "SimpleITKIOWithReorient"])
@pytest.mark.parametrize("orientation", ORIENTATIONS,
                         ids=lambda each: "".join(f"{int(axis)}{'+' if sign > 0 else '-'}" for axis, sign in each))
def test_one_scan_in_every_orientation_gives_one_array_and_goes_back(tmp_path, name, orientation):
    path = _store(tmp_path / "a_0000.nii.gz", orientation)
    reader = reader_named(name)
    image, geometry = reader.read_images([path])
    np.testing.assert_array_equal(image[0], SCAN.T)
    assert geometry.spacing_mm == pytest.approx((2.5, 1.1, 0.7)) and geometry.reader == name
    np.testing.assert_allclose(ras_affine_mm(geometry), OBLIQUE @ affine((0.7, 1.1, 2.5)), atol=1e-5)
    assert Geometry.from_json(geometry.to_json()) == geometry
    reader.write_segmentation(image[0].astype(np.uint16), tmp_path / "out.nii.gz", geometry)
    result, stored = nibabel.load(tmp_path / "out.nii.gz"), nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(result.dataobj), np.asarray(stored.dataobj))
    for field in ("dim", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "pixdim"):
        ours, theirs = (np.ravel(header_of(each)[field])[:4] for each in (tmp_path / "out.nii.gz", path))
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(reader.read_segmentation(tmp_path / "out.nii.gz")[0][0], SCAN.T)


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("orientation", SOME)
def test_equal_to_nnunets_reader_of_the_name_and_its_writer_gives_our_file(tmp_path, name, orientation):
    path = _store(tmp_path / "a_0000.nii.gz", orientation)
    image, geometry = reader_named(name).read_images([path])
    expected, properties = THEIRS[name]().read_images([str(path)])
    np.testing.assert_array_equal(image, expected)
    assert [np.float32(value) for value in geometry.spacing_mm] == [np.float32(value)
                                                                    for value in properties["spacing"]]
    labels = (image[0] % 5).astype(np.uint8)
    reader_named(name).write_segmentation(labels, tmp_path / "ours.nii.gz", geometry)
    THEIRS[name]().write_seg(labels, str(tmp_path / "theirs.nii.gz"), reader_properties(geometry))
    ours, theirs = (nibabel.load(tmp_path / f"{whose}.nii.gz") for whose in ("ours", "theirs"))
    np.testing.assert_array_equal(np.asarray(ours.dataobj), np.asarray(theirs.dataobj))
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-5)


def test_other_formats_and_channels_are_turned_too(tmp_path):
    # LPS: x to the left, y to the back
    image = sitk.GetImageFromArray(np.stack([SCAN.T, SCAN.T + 1], -1), isVector=True)
    image.SetSpacing((0.7, 1.1, 2.5))
    sitk.WriteImage(image, str(tmp_path / "a_0000.nrrd"))
    array, geometry = reader_named("SimpleITKIOWithReorient").read_images([tmp_path / "a_0000.nrrd"])
    np.testing.assert_array_equal(array[:, 2, 1, 3], [SCAN[0, 3, 2], SCAN[0, 3, 2] + 1])  # of 4 x 5 voxels
    reader_named("SimpleITKIOWithReorient").write_segmentation(array[0].astype(np.uint16), tmp_path / "out.nrrd",
                                                               geometry)
    result = sitk.ReadImage(str(tmp_path / "out.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(result), SCAN.T)
    assert (result.GetOrigin(), result.GetDirection()) == (image.GetOrigin(), image.GetDirection())


def test_sheared_files_are_turned_too(tmp_path):
    shear = np.eye(4)
    shear[1, 2] = 0.25
    path = _store(tmp_path / "a_0000.nii.gz", ORIENTATIONS[5], shear)
    image, geometry = reader_named("NibabelIOWithReorient").read_images([path])
    np.testing.assert_array_equal(image, NibabelIOWithReorient().read_images([str(path)])[0])
    reader_named("NibabelIOWithReorient").write_segmentation(image[0].astype(np.uint16), tmp_path / "out.nii.gz",
                                                             geometry)
    np.testing.assert_array_equal(nibabel.load(tmp_path / "out.nii.gz").affine, nibabel.load(path).affine)


def test_2d_files_are_refused(tmp_path):
    write_nifti(tmp_path / "a_0000.nii.gz", SCAN[:, :, 0], affine())
    with pytest.raises(UserError, match="reads volumes only"):
        reader_named("NibabelIOWithReorient").read_images([tmp_path / "a_0000.nii.gz"])
