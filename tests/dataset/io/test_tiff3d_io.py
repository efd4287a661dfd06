from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile
from nnunetv2.imageio.tif_reader_writer import Tiff3DIO

from samunet.dataset.io.tiff3d_io import Tiff3dIO
from samunet.dataset.io.tiff_file import require_one_series
from samunet.dataset.io.tiff_sequence_io import TiffSequenceIO
from samunet.errors import UserError


def _volume(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 900, (5, 7, 6)).astype(np.uint16)


@pytest.fixture
def case(tmp_path):
    """Two channels, and a label with its own spacing file."""
    for channel in (0, 1):
        tifffile.imwrite(tmp_path / f"a_000{channel}.tif", _volume(channel))
    (tmp_path / "a.json").write_text(json.dumps({"spacing": [3, 0.5, 0.25]}))
    return [tmp_path / "a_0000.tif", tmp_path / "a_0001.tif"]


def test_reads_as_nnunet(case):
    image, geometry = Tiff3dIO().read_images(case)
    expected, properties = Tiff3DIO().read_images([str(path) for path in case])
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(image[1], _volume(1))
    assert list(geometry.spacing_mm) == properties["spacing"] == [3, 0.5, 0.25]
    assert geometry.shape == (5, 7, 6)


def test_labels_come_back_with_their_spacing_and_nnunet_reads_them(case, tmp_path):
    _, geometry = Tiff3dIO().read_images(case)
    segmentation = (_volume() % 4).astype(np.uint8)
    path = tmp_path / "out" / "a.tif"
    Tiff3dIO().write_segmentation(segmentation, path, geometry)
    again, label_geometry = Tiff3dIO().read_segmentation(path)
    assert again.dtype == np.int16 and label_geometry == geometry
    np.testing.assert_array_equal(again[0], segmentation)
    theirs, properties = Tiff3DIO().read_seg(str(path))
    np.testing.assert_array_equal(theirs[0], segmentation)
    assert properties["spacing"] == [3, 0.5, 0.25]
    assert sorted(path.name for path in path.parent.iterdir()) == ["a.json", "a.tif"]
    assert tifffile.imread(path).dtype == np.uint8


def test_without_spacing_file_1_mm_is_said(case, capsys, tmp_path):
    (tmp_path / "a.json").unlink()
    _, geometry = Tiff3dIO().read_images(case)
    assert geometry.spacing_mm == (1, 1, 1)
    assert "a_0000.tif has no spacing file a.json" in capsys.readouterr().err


def _problem(call, argument) -> UserError:
    with pytest.raises(UserError) as caught:
        call(argument)
    return caught.value


@pytest.mark.parametrize("content", [
    '{"spacing": [1, 1]}', '{"spacing": [1, 1, 0]}', '{"spacing": "1"}', "[1, 1, 1]", "{}",
    '{"spacing": [1, 1, 1e999]}', '{"spacing": [1, 1, null]}', '{"spacing": [1, NaN, 1]}',
    '{"spacing": [1, 1, Infinity]}', '{"spacing": [1, 1, 1e30]}', '{"spacing": [9e-4, 1, 1]}',
    '{"spacing": [true, 1, 1]}', '{"spacing": [-1, 1, 1]}', '{"spacing": [1, 1, 1, 1]}',
])
def test_bad_spacing_file(case, tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    problem = _problem(Tiff3dIO().read_images, case)
    assert problem.rule.startswith("A TIFF's spacing file must hold")
    assert problem.where == str(tmp_path / "a.json")


def test_2d_file_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a_0000.tif", _volume()[0])
    assert _problem(Tiff3dIO().read_images, [tmp_path / "a_0000.tif"]).found == "shape (7, 6)"


def _page_by_page(path, *pages: np.ndarray):
    """As a loop over slices writes them, each as a series of its own."""
    with tifffile.TiffWriter(path) as writer:
        for page in pages:
            writer.write(page)
    return path


def test_slices_that_were_written_one_by_one_are_refused(tmp_path):
    image = _page_by_page(tmp_path / "a_0000.tif", *_volume())
    label = _page_by_page(tmp_path / "a.tif", *(_volume() % 2).astype(np.uint8))
    for problem, path in ((_problem(Tiff3dIO().read_images, [image]), image),
                          (_problem(Tiff3dIO().read_segmentation, label), label)):
        assert problem.rule.startswith("A TIFF must hold one image, or one volume")
        assert problem.found == "5 of shape (7, 6)" and problem.where == str(path)
    both = _page_by_page(tmp_path / "b_0000.tif", _volume(), _volume(1))
    assert _problem(Tiff3dIO().read_images, [both]).found == "2 of shape (5, 7, 6)"


def test_a_smaller_image_beside_the_volume_is_ignored(tmp_path):
    path = _page_by_page(tmp_path / "a_0000.tif", _volume(), _volume()[0, ::2, ::2])
    image, _ = Tiff3dIO().read_images([path])
    np.testing.assert_array_equal(image[0], _volume())


def test_a_mask_and_an_image_of_another_type_beside_the_first_are_ignored(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a_0000.tif") as file:
        file.write(_volume()[0] > 0)
        file.write(_volume()[1] > 0, subfiletype=4, photometric="minisblack")
    with tifffile.TiffWriter(tmp_path / "b_0000.tif") as file:
        file.write(_volume()[0])
        file.write(_volume()[1].astype(np.float64))
    for name in ("a_0000.tif", "b_0000.tif"):
        require_one_series(tmp_path / name)


def test_fractional_labels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((5, 7, 6), 0.5, np.float32))
    assert _problem(Tiff3dIO().read_segmentation, tmp_path / "a.tif").rule == "Label values must be whole numbers."


@pytest.mark.parametrize("keep", [0, 0.05, 0.9])
def test_truncated_file(tmp_path, keep):
    path = tmp_path / "a_0000.tif"
    tifffile.imwrite(path, np.random.default_rng(0).integers(0, 900, (9, 30, 30)).astype(np.uint16), compression="zlib")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    assert _problem(Tiff3dIO().read_images, [path]).where == str(path)


@pytest.mark.parametrize("reader", [Tiff3dIO, TiffSequenceIO])
def test_pages_that_viewers_turn_or_that_are_no_rgb_are_refused(tmp_path, reader):
    tifffile.imwrite(tmp_path / "a_0000.tif", _volume(), extratags=[(274, "H", 1, 6, True)])
    assert _problem(reader().read_images, [tmp_path / "a_0000.tif"]).found == "orientation 6"
    tifffile.imwrite(tmp_path / "b_0000.tif", np.zeros((5, 7, 6, 4), np.uint8), photometric="separated")
    assert _problem(reader().read_images, [tmp_path / "b_0000.tif"]).found == "photometric interpretation SEPARATED"
