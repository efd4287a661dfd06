from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import same_grid
from samunet.dataset.io.sitk_io import SimpleItkIO
from samunet.dataset.nnunet_properties import reader_properties
from samunet.errors import UserError

SPACING_XYZ = (0.7, 0.8, 3.3)
ORIGIN = (-12.5, 40.25, 7.125)
OBLIQUE = sitk.Euler3DTransform((0, 0, 0), 0.3, -0.2, 0.5).GetMatrix()
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


def _write(array: np.ndarray, path: Path, spacing=SPACING_XYZ, origin=ORIGIN, direction=OBLIQUE) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(direction)
    sitk.WriteImage(image, str(path), True)
    return path


def _volume(seed: int = 0, dtype=np.int16) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 900, (4, 6, 5)).astype(dtype)


def _labels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 4, (4, 6, 5)).astype(np.uint8)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64, np.uint8])
def test_reads_as_nnunet(tmp_path, ending, dtype):
    paths = [_write(_volume(seed, dtype), tmp_path / f"a_{seed:04d}{ending}") for seed in (0, 1)]
    image, geometry = SimpleItkIO().read_images(paths)
    expected, properties = SimpleITKIO().read_images([str(path) for path in paths])
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(image[1], _volume(1, dtype))
    assert list(geometry.spacing_mm) == list(properties["spacing"])
    assert geometry.origin == properties["sitk_stuff"]["origin"]
    assert geometry.direction == properties["sitk_stuff"]["direction"]
    np.testing.assert_allclose(geometry.spacing_mm, SPACING_XYZ[::-1], rtol=1e-6)
    np.testing.assert_allclose(geometry.direction, OBLIQUE, atol=1e-6)


def _same_geometry(one: Geometry, other: Geometry) -> bool:
    """To one unit in the last place of a float32: NIfTI stores nothing finer, and NRRD spacing times direction as text.
    """
    return one.shape == other.shape and all(
        np.allclose(a, b, rtol=2e-7, atol=2e-7)
        for a, b in ((one.spacing_mm, other.spacing_mm), (one.origin, other.origin), (one.direction, other.direction)))


@pytest.mark.parametrize("direction", [OBLIQUE, (-1, 0, 0, 0, 0, 1, 0, -1, 0)], ids=["oblique", "axes"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_geometry_comes_back(tmp_path, ending, direction):
    path = _write(_volume(), tmp_path / f"a_0000{ending}", direction=direction)
    _, geometry = SimpleItkIO().read_images([path])
    written = tmp_path / f"out{ending}"
    SimpleItkIO().write_segmentation(_labels(), written, geometry)
    segmentation, again = SimpleItkIO().read_segmentation(written)
    np.testing.assert_array_equal(segmentation[0], _labels())
    assert segmentation.dtype == np.int16
    assert _same_geometry(again, geometry)
    if ending == ".mha" or direction is not OBLIQUE and ending != ".nrrd":
        assert again == geometry
    assert not list(tmp_path.glob(".unfinished*"))


def test_writes_what_nnunet_writes_under_the_images_forms(tmp_path):
    path = _write(_volume(), tmp_path / "a_0000.nii.gz")
    _, geometry = SimpleItkIO().read_images([path])
    SimpleItkIO().write_segmentation(_labels(), tmp_path / "ours.nii.gz", geometry)
    SimpleITKIO().write_seg(_labels(), str(tmp_path / "theirs.nii.gz"), reader_properties(geometry))
    image, ours, theirs = (gzip.decompress(each.read_bytes())
                           for each in (path, tmp_path / "ours.nii.gz", tmp_path / "theirs.nii.gz"))
    forms = slice(252, 328)  # both codes, quaternion, offsets and rows
    assert ours[forms] == image[forms]
    assert ours[:256] + ours[328:] == theirs[:256] + theirs[328:]
    # ITK computes the quaternion again from directions.
    np.testing.assert_array_max_ulp(*(np.frombuffer(each[256:328], np.float32) for each in (ours, theirs)), maxulp=2)


def test_4d_gives_channels_and_3d_geometry(tmp_path):
    array = np.stack([_volume(0), _volume(1), _volume(2)])
    joined = sitk.JoinSeries([sitk.ReadImage(str(_write(channel, tmp_path / "x.nii.gz"))) for channel in array])
    path = tmp_path / "a_0000.nii.gz"
    sitk.WriteImage(joined, str(path))
    image, geometry = SimpleItkIO().read_images([path])
    expected, properties = SimpleITKIO().read_images([str(path)])
    np.testing.assert_array_equal(image, array)
    np.testing.assert_array_equal(image, expected)
    assert list(geometry.spacing_mm) == list(properties["spacing"])
    _, single = SimpleItkIO().read_images([_write(_volume(), tmp_path / "b_0000.nii.gz")])
    assert geometry.shape == (4, 6, 5)
    assert same_grid(geometry, single)
    SimpleItkIO().write_segmentation(_labels(), tmp_path / "out.nii.gz", geometry)
    assert _same_geometry(SimpleItkIO().read_segmentation(tmp_path / "out.nii.gz")[1], geometry)


def test_several_values_a_voxel_give_channels(tmp_path):
    array = np.stack([_volume(0), _volume(1)])
    image = sitk.Compose([sitk.GetImageFromArray(channel) for channel in array])
    sitk.WriteImage(image, str(tmp_path / "a_0000.nrrd"))
    np.testing.assert_array_equal(SimpleItkIO().read_images([tmp_path / "a_0000.nrrd"])[0], array)


def test_2d_as_nnunet(tmp_path):
    path = tmp_path / "a_0000.nii.gz"
    _write(_volume()[0], path, (0.5, 0.75), (3, 4), (0, 1, -1, 0))
    image, geometry = SimpleItkIO().read_images([path])
    expected, properties = SimpleITKIO().read_images([str(path)])
    np.testing.assert_array_equal(image, expected)
    assert image.shape == (1, 1, 6, 5)
    assert list(geometry.spacing_mm) == list(properties["spacing"]) == [999 * 0.75, 0.75, 0.5]
    SimpleItkIO().write_segmentation(_labels()[:1], tmp_path / "ours.nii.gz", geometry)
    SimpleITKIO().write_seg(_labels()[:1], str(tmp_path / "theirs.nii.gz"), reader_properties(geometry))
    ours, theirs = (sitk.ReadImage(str(tmp_path / f"{name}.nii.gz")) for name in ("ours", "theirs"))
    assert ours.GetDimension() == 2
    assert (ours.GetSpacing(), ours.GetOrigin(), ours.GetDirection()) == (
        theirs.GetSpacing(), theirs.GetOrigin(), theirs.GetDirection())
    assert SimpleItkIO().read_segmentation(tmp_path / "ours.nii.gz")[1] == geometry


@pytest.mark.parametrize(("highest", "given", "written"), [
    (3, np.int64, np.uint8), (254, np.int16, np.uint8), (255, np.int16, np.uint16), (3, np.uint16, np.uint16),
    (255, np.uint8, np.uint8),
])
def test_type_of_written_labels(tmp_path, highest, given, written):
    _, geometry = SimpleItkIO().read_images([_write(_volume(), tmp_path / "a_0000.nii.gz")])
    segmentation = np.zeros((4, 6, 5), given)
    segmentation[0, 0, 0] = highest
    SimpleItkIO().write_segmentation(segmentation, tmp_path / "out.nii.gz", geometry)
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nii.gz")))
    assert found.dtype == written
    assert found[0, 0, 0] == highest


def test_whole_numbers_stored_as_float_are_labels(tmp_path):
    segmentation, _ = SimpleItkIO().read_segmentation(_write(_labels().astype(np.float64), tmp_path / "a.nii.gz"))
    assert segmentation.dtype == np.int16
    np.testing.assert_array_equal(segmentation[0], _labels())


def test_other_origin_of_a_channel_is_only_said(tmp_path, capsys):
    paths = [_write(_volume(), tmp_path / "a_0000.nii.gz"),
             _write(_volume(), tmp_path / "a_0001.nii.gz", origin=(0.0, 0.0, 0.0))]
    _, geometry = SimpleItkIO().read_images(paths)
    np.testing.assert_allclose(geometry.origin, ORIGIN)
    assert "origin or direction of" in capsys.readouterr().err


def test_a_mirrored_channel_is_turned_onto_the_first(tmp_path, capsys):
    """A second channel stored from the last row to the first, with its header: each voxel meets its own place."""
    image = sitk.ReadImage(str(_write(_volume(), tmp_path / "a_0000.nii.gz")))
    sitk.WriteImage(sitk.Flip(image, [False, True, False]), str(tmp_path / "a_0001.nii.gz"))
    paths = [tmp_path / "a_0000.nii.gz", tmp_path / "a_0001.nii.gz"]
    assert not np.array_equal(SimpleItkIO().read_images(paths[1:])[0][0], _volume())
    channels, _ = SimpleItkIO().read_images(paths)
    np.testing.assert_array_equal(channels[1], channels[0])
    assert "permuted or flipped" in capsys.readouterr().err


def test_a_rotated_channel_is_a_problem_beside_others(tmp_path):
    array = _volume(dtype=np.float32)
    array[0, 0, 0] = np.nan
    paths = [_write(_volume(), tmp_path / "a_0000.nii.gz"),
             _write(_volume(), tmp_path / "a_0001.nii.gz", direction=np.eye(3).ravel()),
             _write(array, tmp_path / "a_0002.nii.gz")]
    text = str(_problem(SimpleItkIO().read_images, paths))
    assert text.startswith("2 problems were found:") and "the same direction" in text and "1 voxels are NaN" in text


def _problem(call, *arguments) -> UserError:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    return caught.value


def test_channels_of_different_shape(tmp_path):
    paths = [_write(_volume(), tmp_path / "a_0000.nii.gz"), _write(_volume()[1:], tmp_path / "a_0001.nii.gz")]
    problem = _problem(SimpleItkIO().read_images, paths)
    assert problem.rule == "All channels of a case must have the same shape."
    assert problem.where == str(paths[1])
    assert problem.found == "(3, 6, 5); a_0000.nii.gz has (4, 6, 5) (z, y, x)"


def test_channels_of_different_spacing(tmp_path):
    paths = [_write(_volume(), tmp_path / "a_0000.nii.gz"),
             _write(_volume(), tmp_path / "a_0001.nii.gz", spacing=(0.7, 0.8, 3.0))]
    assert _problem(SimpleItkIO().read_images, paths).rule == "All channels of a case must have the same spacing."


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "Inf"), (-np.inf, "Inf")])
def test_nan_and_inf(tmp_path, value, name):
    array = _volume(dtype=np.float32)
    array[1, 2, 3] = value
    problem = _problem(SimpleItkIO().read_images, [_write(array, tmp_path / "a_0000.nii.gz")])
    assert problem.rule == f"Images must not hold {name}."
    assert problem.found == f"1 voxels are {name}"


def test_nan_and_inf_and_shape_are_reported_together(tmp_path):
    array = _volume(dtype=np.float32)
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    paths = [_write(_volume(), tmp_path / "a_0000.nii.gz"), _write(array[:, 1:], tmp_path / "a_0001.nii.gz"),
             _write(array, tmp_path / "a_0002.nii.gz")]
    text = str(_problem(SimpleItkIO().read_images, paths))
    assert text.startswith("3 problems were found:")
    assert "1 voxels are NaN" in text and "2 voxels are Inf" in text and "same shape" in text


def test_values_too_large_for_float32_are_inf(tmp_path):
    path = _write(np.full((2, 2, 2), 1e300), tmp_path / "a_0000.nii.gz")
    assert _problem(SimpleItkIO().read_images, [path]).rule == "Images must not hold Inf."


@pytest.mark.parametrize("ending", [*ENDINGS, ".gipl"])
@pytest.mark.parametrize("keep", [0, 0.02, 0.5, 0.9])
def test_truncated_file(tmp_path, ending, keep):
    path = _write(np.random.default_rng(0).integers(0, 900, (9, 20, 20)).astype(np.int16), tmp_path / f"a_0000{ending}")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    for call, argument in ((SimpleItkIO().read_images, [path]), (SimpleItkIO().read_segmentation, path)):
        problem = _problem(call, argument)
        assert problem.rule.startswith("An image or label file must be readable: whole,")
        assert problem.where == str(path)


def test_bytes_after_the_voxels_are_no_truncation(tmp_path):
    path = _write(_volume(), tmp_path / "a_0000.nii.gz")
    path.write_bytes(path.read_bytes() + gzip.compress(b"more"))
    np.testing.assert_array_equal(SimpleItkIO().read_images([path])[0][0], _volume())


def test_missing_file(tmp_path):
    assert "no such file" in _problem(SimpleItkIO().read_images, [tmp_path / "none_0000.nii.gz"]).found


def test_fractional_labels(tmp_path):
    problem = _problem(SimpleItkIO().read_segmentation, _write(_labels() * np.float32(0.5), tmp_path / "a.nii.gz"))
    assert problem.rule == "Label values must be whole numbers."
    assert problem.found.endswith("such as 0.5") or problem.found.endswith("such as 1.5")


def test_nan_in_a_label(tmp_path):
    labels = _labels().astype(np.float32)
    labels[0, 0, 0] = np.nan
    problem = _problem(SimpleItkIO().read_segmentation, _write(labels, tmp_path / "a.nii.gz"))
    assert problem.found == "1 voxels such as nan"


def test_4d_label(tmp_path):
    image = sitk.JoinSeries([sitk.GetImageFromArray(_labels())] * 2)
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    problem = _problem(SimpleItkIO().read_segmentation, tmp_path / "a.nii.gz")
    assert problem.rule.startswith("A label file must hold one value for each voxel")
    assert problem.found == "2 channels of shape (4, 6, 5)"


def test_label_value_beyond_int16(tmp_path):
    labels = _labels().astype(np.uint16)
    labels[0, 0, 0] = 40000
    problem = _problem(SimpleItkIO().read_segmentation, _write(labels, tmp_path / "a.nii.gz"))
    assert problem.rule == "Label values must be between 0 and 32767."


def test_output_blocked_by_a_file_leaves_nothing(tmp_path):
    _, geometry = SimpleItkIO().read_images([_write(_volume(), tmp_path / "a_0000.nii.gz")])
    (tmp_path / "out").write_text("in the way")
    problem = _problem(SimpleItkIO().write_segmentation, _labels(), tmp_path / "out" / "a.nii.gz", geometry)
    assert problem.rule == "The output place must be writable."
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_0000.nii.gz", "out"]
