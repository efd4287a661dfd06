"""Where NIfTI headers place voxels, whatever state their forms are in."""

from __future__ import annotations

import math
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from nifti_files import affine, header_of, write_nifti

from samunet.dataset.geometry import Geometry
from samunet.dataset.io.sitk_io import SimpleItkIO
from samunet.dataset.nnunet_properties import ras_affine_mm
from samunet.errors import UserError

VOXELS = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3)
STRAIGHT = affine()
TURNED = np.array([[0.8, -0.6, 0, 4], [0.6, 0.8, 0, -19], [0, 0, 2, 8], [0, 0, 0, 1.0]])
MIRRORED = affine((-1, 1, 2), (9, -12, 5))
SHEARED = np.array([[1, 0, 0, 0], [0, 1, 0.25, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ STRAIGHT


def _geometry(path) -> Geometry:
    return SimpleItkIO().read_images([path])[1]


def _written(path, geometry):
    out = path.with_name("out.nii.gz")
    SimpleItkIO().write_segmentation(np.zeros(geometry.shape, np.uint8), out, geometry)
    return out


def _problem(path) -> UserError:
    with pytest.raises(UserError) as caught:
        SimpleItkIO().read_images([path])
    assert caught.value.where == str(path)
    return caught.value


@pytest.mark.parametrize("sform", [TURNED, MIRRORED, SHEARED], ids=["turned", "mirrored", "sheared"])
@pytest.mark.parametrize("code", [1, 2, 4])
def test_the_sform_places_and_both_forms_come_back(tmp_path, capsys, sform, code):
    path = write_nifti(tmp_path / "a_0000.nii.gz", VOXELS, sform, STRAIGHT, code, 1)
    geometry = _geometry(path)
    np.testing.assert_allclose(ras_affine_mm(geometry), sform, atol=1e-5)
    assert geometry.spacing_mm == pytest.approx(tuple(np.linalg.norm(sform[:3, :3], axis=0)[::-1]))
    assert f"qform of {path} contradict each other" in capsys.readouterr().err
    written = header_of(_written(path, geometry))
    assert (int(written["sform_code"]), int(written["qform_code"])) == (code, 1)
    np.testing.assert_allclose(written.get_sform(), sform, atol=1e-6)
    np.testing.assert_allclose(written.get_qform(), STRAIGHT, atol=1e-6)
    assert np.allclose(nibabel.load(tmp_path / "out.nii.gz").affine, nibabel.load(path).affine)


@pytest.mark.parametrize(("forms", "codes"), [
    ({"sform": TURNED}, (1, 0)), ({"qform": TURNED}, (0, 1)), ({"sform": TURNED, "qform": TURNED}, (2, 1)),
    ({"sform": MIRRORED, "qform": MIRRORED}, (1, 1)), ({"qform": affine((1, 1, 2), (0, 0, 0))}, (0, 3)),
])
def test_sound_forms_are_placed_as_by_itk_without_a_word(tmp_path, capsys, forms, codes):
    path = write_nifti(tmp_path / "a_0000.nii.gz", VOXELS, s_code=codes[0], q_code=codes[1], xyzt_units=10, **forms)
    geometry, image = _geometry(path), sitk.ReadImage(str(path))
    assert geometry.spacing_mm[::-1] == image.GetSpacing()
    np.testing.assert_allclose(geometry.origin, image.GetOrigin(), rtol=1e-6)
    np.testing.assert_allclose(geometry.direction, image.GetDirection(), atol=1e-6)
    assert capsys.readouterr().err == ""
    image, result = (header_of(each) for each in (path, _written(path, geometry)))
    for field in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "quatern_d", "qoffset_y",
                  "xyzt_units"):
        np.testing.assert_array_equal(result[field], image[field])


def test_without_codes_the_spacing_alone_counts_and_no_form_is_written(tmp_path):
    path = write_nifti(tmp_path / "a_0000.nii", VOXELS, pixdim=(0.5, 0.7, 3), srow_x=(9, 9, 9, 9), qoffset_x=np.nan)
    geometry = _geometry(path)
    assert geometry.spacing_mm == pytest.approx((3, 0.7, 0.5))
    assert (geometry.origin, geometry.direction) == ((0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert geometry.spacing_mm[::-1] == sitk.ReadImage(str(path)).GetSpacing()
    result = header_of(_written(path, geometry))
    assert (int(result["sform_code"]), int(result["qform_code"])) == (0, 0)
    assert result["pixdim"][1:4].tolist() == pytest.approx([0.5, 0.7, 3])
    assert Geometry.from_json(geometry.to_json()) == geometry


@pytest.mark.parametrize(("units", "scale"),
                         [(0, 1), (1, 1000), (2, 1), (3, 0.001), (2 + 16, 1), (3 + 8, 0.001), (7, 1)])
def test_units_become_mm_and_go_back(tmp_path, units, scale):
    path = write_nifti(tmp_path / "a_0000.nii.gz", VOXELS, affine((5, 6, 8), (-50, -60, 25)),
                       affine((5, 6, 8), (-50, -60, 25)),
                       xyzt_units=units)
    geometry = _geometry(path)
    assert geometry.spacing_mm == pytest.approx((8 * scale, 6 * scale, 5 * scale))
    assert geometry.origin == pytest.approx((50 * scale, 60 * scale, 25 * scale))
    result = header_of(_written(path, geometry))
    assert int(result["xyzt_units"]) == units
    np.testing.assert_array_equal(result.get_sform(), affine((5, 6, 8), (-50, -60, 25)))


@pytest.mark.parametrize("forms", [{}, {"sform": STRAIGHT}, {"qform": STRAIGHT}], ids=["none", "sform", "qform"])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, 1e30, 9e-4, 1.1e4])
def test_a_spacing_that_cannot_be_is_refused(tmp_path, forms, value):
    problem = _problem(write_nifti(tmp_path / "a_0000.nii.gz", VOXELS, pixdim=(1, value, 1), **forms))
    assert problem.rule == "The spacing of an image or label file must be between 0.001 and 10000 mm."
    assert problem.found == f"(1.0, {float(np.float32(value))}, 1.0) mm (x, y, z)"


def test_bounds_hold_in_mm_not_in_the_files_unit(tmp_path):
    assert "0.0001" in _problem(write_nifti(tmp_path / "a.nii", VOXELS, pixdim=(1, 1, 0.1), xyzt_units=3)).found
    assert _geometry(write_nifti(tmp_path / "b.nii", VOXELS, pixdim=(1, 1, 1), xyzt_units=3)).spacing_mm == (1e-3,) * 3


@pytest.mark.parametrize(("forms", "found"), [
    ({"sform": STRAIGHT, "srow_y": (0, np.nan, 0, 0)}, "sform"),
    ({"sform": STRAIGHT, "srow_z": (0, 0, np.inf, 0)}, "sform"),
    ({"sform": STRAIGHT, "qform": STRAIGHT, "quatern_b": np.nan}, "qform"),
    ({"sform": STRAIGHT, "qform": STRAIGHT, "qoffset_z": np.inf}, "qform"),
    ({"qform": STRAIGHT, "quatern_b": 1, "quatern_c": 1}, "qform"),
])
def test_a_form_that_is_valid_by_its_code_must_be_one(tmp_path, forms, found):
    problem = _problem(write_nifti(tmp_path / "a_0000.nii.gz", VOXELS, **forms))
    assert problem.rule.startswith("A form of a NIfTI header whose code is above 0 must hold finite numbers")
    assert problem.found.startswith(found)


@pytest.mark.parametrize(("rows", "rule"), [
    ([[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0]], "The spacing of"),
    ([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 2, 0]], "The axes of"),
    ([[1, 0, 0, 2e6], [0, 1, 0, 0], [0, 0, 2, 0]], "The origin of"),
], ids=["empty", "flat", "remote"])
def test_a_singular_or_remote_sform_is_refused(tmp_path, rows, rule):
    path = write_nifti(tmp_path / "a_0000.nii.gz", VOXELS, np.vstack([rows, (0, 0, 0, 1)]), pixdim=(1, 1, 2))
    assert _problem(path).rule.startswith(rule)


def test_quaternions_beyond_one_by_rounding_are_rotations(tmp_path):
    path = write_nifti(tmp_path / "a_0000.nii.gz", VOXELS, qform=STRAIGHT, quatern_b=math.sqrt(0.5) + 1e-6,
                       quatern_c=math.sqrt(0.5))
    np.testing.assert_allclose(np.abs(ras_affine_mm(_geometry(path))[:3, :3]), [[0, 1, 0], [1, 0, 0], [0, 0, 2]],
                               atol=1e-5)


def test_a_spacing_that_contradicts_the_sform_gives_way(tmp_path, capsys):
    path = write_nifti(tmp_path / "a_0000.nii.gz", VOXELS, affine((0.5, 0.5, 3)), pixdim=(1, 1, 1))
    geometry = _geometry(path)
    assert geometry.spacing_mm == pytest.approx((3, 0.5, 0.5))
    assert f"sform and pixdim of {path} contradict each other" in capsys.readouterr().err
    result = header_of(_written(path, geometry))
    assert result["pixdim"][1:4].tolist() == [1, 1, 1]
    np.testing.assert_allclose(result.get_sform(), affine((0.5, 0.5, 3)))


def test_rounding_of_forms_is_no_contradiction(tmp_path, capsys):
    spacing = tuple(float(np.float32(value)) for value in (0.7 / 3, 0.2343750149, 3.3000001))
    matrix = affine(spacing, (-120.123, 80.456, -1300.789))
    path = write_nifti(tmp_path / "a_0000.nii.gz", np.zeros((60, 60, 40), np.int16), matrix * (1 + 1e-7), matrix)
    assert _geometry(path).spacing_mm[::-1] == spacing
    assert capsys.readouterr().err == ""


def test_shear_is_said_in_degrees(tmp_path, capsys):
    _geometry(write_nifti(tmp_path / "a_0000.nii.gz", VOXELS, SHEARED))
    # atan 1/4
    assert "not orthonormal: they differ from a right angle by up to 14.0 degrees" in capsys.readouterr().err


def test_2d_files(tmp_path):
    plane = np.array([[0, -0.5, 0, -3], [0.75, 0, 0, -4], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    path = write_nifti(tmp_path / "a_0000.nii.gz", VOXELS[:, :, 0], plane, plane, pixdim=(0.75, 0.5, np.nan))
    geometry = _geometry(path)
    assert geometry.shape == (1, 5, 4) and geometry.spacing_mm == (999 * 0.75, 0.5, 0.75)
    assert geometry.origin == (3, 4) and geometry.direction == (0, 1, -1, 0)
    result = header_of(_written(path, geometry))
    assert result["dim"].tolist() == [2, 4, 5, 1, 1, 1, 1, 1] and np.isfinite(result["pixdim"]).all()
    coronal = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    assert "plane of x and y" in _problem(write_nifti(tmp_path / "b_0000.nii.gz", VOXELS[:, :, 0], coronal)).rule


def test_nifti_2_is_answered_by_nifti_2(tmp_path):
    path = write_nifti(tmp_path / "a_0000.nii.gz", VOXELS, TURNED, TURNED, version=2)
    image, geometry = SimpleItkIO().read_images([path])
    np.testing.assert_array_equal(image[0], VOXELS.T)
    result = nibabel.load(_written(path, geometry))
    assert isinstance(result, nibabel.Nifti2Image)
    np.testing.assert_array_equal(result.affine, nibabel.load(path).affine)


def test_cases_stored_by_earlier_versions_are_written_as_itk_does(tmp_path):
    geometry = replace(_geometry(write_nifti(tmp_path / "a_0000.nii.gz", VOXELS, TURNED, TURNED)), nifti=None)
    old = Geometry.from_json({key: value for key, value in geometry.to_json().items() if key != "nifti"})
    assert old == geometry
    result = header_of(_written(tmp_path / "a_0000.nii.gz", old))
    assert (int(result["sform_code"]), int(result["qform_code"]), int(result["xyzt_units"])) == (1, 1, 10)
    np.testing.assert_allclose(result.get_sform(), TURNED, atol=1e-6)
    np.testing.assert_allclose(result.get_qform(), TURNED, atol=1e-6)
