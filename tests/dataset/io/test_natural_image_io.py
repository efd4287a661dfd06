from __future__ import annotations

import numpy as np
import pytest
import tifffile
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from skimage import io

from samunet.dataset.io.natural_image_io import NaturalImageIO
from samunet.errors import UserError

ENDINGS = (".png", ".bmp", ".tif")


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 3)], ids=["grey", "rgb"])
def test_reads_as_nnunet(tmp_path, ending, shape):
    path = tmp_path / f"a_0000{ending}"
    io.imsave(path, _pixels(*shape), check_contrast=False)
    image, geometry = NaturalImageIO().read_images([path])
    expected, properties = NaturalImage2DIO().read_images([str(path)])
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(image[0, 0], _pixels(*shape).reshape(6, 9, -1)[..., 0])
    assert len(image) == (3 if len(shape) == 3 else 1)
    assert tuple(geometry.spacing_mm) == properties["spacing"]
    assert geometry.shape == (1, 6, 9)


def test_rgba_png_has_four_channels_as_in_nnunet(tmp_path):
    io.imsave(tmp_path / "a_0000.png", _pixels(6, 9, 4), check_contrast=False)
    image, _ = NaturalImageIO().read_images([tmp_path / "a_0000.png"])
    np.testing.assert_array_equal(image, NaturalImage2DIO().read_images([str(tmp_path / "a_0000.png")])[0])
    assert len(image) == 4


def test_16_bit_grey(tmp_path):
    pixels = np.arange(54, dtype=np.uint16).reshape(6, 9) * 1000
    io.imsave(tmp_path / "a_0000.png", pixels, check_contrast=False)
    np.testing.assert_array_equal(NaturalImageIO().read_images([tmp_path / "a_0000.png"])[0][0, 0], pixels)


def test_several_grey_files_are_channels(tmp_path):
    paths = [tmp_path / f"a_000{channel}.png" for channel in (0, 1)]
    for channel, path in enumerate(paths):
        io.imsave(path, _pixels(6, 9) // (channel + 1), check_contrast=False)
    image, _ = NaturalImageIO().read_images(paths)
    np.testing.assert_array_equal(image[:, 0], [_pixels(6, 9), _pixels(6, 9) // 2])


@pytest.mark.parametrize("ending", ENDINGS)
def test_labels_come_back_and_nnunet_reads_them(tmp_path, ending):
    segmentation = _pixels(1, 6, 9) % 5
    io.imsave(tmp_path / "a_0000.png", _pixels(6, 9), check_contrast=False)
    _, geometry = NaturalImageIO().read_images([tmp_path / "a_0000.png"])
    path = tmp_path / f"a{ending}"
    NaturalImageIO().write_segmentation(segmentation.astype(np.int64), path, geometry)
    again, label_geometry = NaturalImageIO().read_segmentation(path)
    assert again.dtype == np.int16 and label_geometry == geometry
    np.testing.assert_array_equal(again[0], segmentation)
    np.testing.assert_array_equal(NaturalImage2DIO().read_seg(str(path))[0][0], segmentation)
    assert io.imread(path).dtype == np.uint8
    assert not list(tmp_path.glob(".unfinished*"))


def _problem(call, argument) -> UserError:
    with pytest.raises(UserError) as caught:
        call(argument)
    return caught.value


def test_colour_label(tmp_path):
    io.imsave(tmp_path / "a.png", _pixels(6, 9, 3), check_contrast=False)
    problem = _problem(NaturalImageIO().read_segmentation, tmp_path / "a.png")
    assert problem.rule.startswith("A label file must hold one value for each voxel")
    assert problem.found == "3 channels of shape (1, 6, 9)"
    assert "grey" in problem.mend


def test_channels_of_different_shape(tmp_path):
    io.imsave(tmp_path / "a_0000.png", _pixels(6, 9), check_contrast=False)
    io.imsave(tmp_path / "a_0001.png", _pixels(6, 8), check_contrast=False)
    problem = _problem(NaturalImageIO().read_images, [tmp_path / "a_0000.png", tmp_path / "a_0001.png"])
    assert problem.rule == "All channels of a case must have the same shape."


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("keep", [0, 0.5])
def test_truncated_file(tmp_path, ending, keep):
    path = tmp_path / f"a_0000{ending}"
    io.imsave(path, _pixels(40, 40), check_contrast=False)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    assert _problem(NaturalImageIO().read_images, [path]).rule.startswith("An image or label file must be readable")


def test_missing_file(tmp_path):
    assert "no such file" in _problem(NaturalImageIO().read_segmentation, tmp_path / "none.png").found


def test_volume_is_refused(tmp_path):
    io.imsave(tmp_path / "a_0000.tif", _pixels(5, 6, 9), check_contrast=False)
    problem = _problem(NaturalImageIO().read_images, [tmp_path / "a_0000.tif"])
    assert problem.found == "shape (5, 6, 9)"


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 3)], ids=["grey", "rgb"])
def test_pages_that_were_written_one_by_one_are_refused_and_thumbnails_left_alone(tmp_path, shape):
    pages, whole = tmp_path / "a_0000.tif", tmp_path / "b_0000.tif"
    for path, images in ((pages, [_pixels(*shape)] * 4), (whole, [_pixels(*shape), _pixels(*shape)[::3, ::3]])):
        with tifffile.TiffWriter(path) as writer:
            for image in images:
                writer.write(image)
    problem = _problem(NaturalImageIO().read_images, [pages])
    assert problem.rule.startswith("A TIFF must hold one image") and problem.found == f"4 of shape {shape}"
    image, _ = NaturalImageIO().read_images([whole])
    np.testing.assert_array_equal(image[:, 0], np.atleast_3d(_pixels(*shape)).transpose(2, 0, 1))
