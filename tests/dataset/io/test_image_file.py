"""Images as viewers show them, labels by index; types that would need a cast are refused."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from samunet.dataset.io.frame_folder_io import FrameFolderIO
from samunet.dataset.io.image_file import read_image
from samunet.dataset.io.natural_image_io import NaturalImageIO
from samunet.errors import UserError

UPRIGHT = np.arange(5 * 7, dtype=np.uint8).reshape(5, 7) * 7
# What a camera stores where viewers are to show UPRIGHT, by EXIF's definition of where the first row and column lie.
STORED = {1: UPRIGHT, 2: UPRIGHT[:, ::-1], 3: UPRIGHT[::-1, ::-1], 4: UPRIGHT[::-1], 5: UPRIGHT.T, 6: np.rot90(UPRIGHT),
          7: UPRIGHT[::-1, ::-1].T, 8: np.rot90(UPRIGHT, -1)}
PALETTE = [0, 0, 0, 255, 0, 0, 0, 255, 0, 10, 20, 30]


def _save(path, array, orientation=1, mode=None):
    image = array if isinstance(array, Image.Image) else Image.fromarray(np.ascontiguousarray(array), mode)
    if orientation == 1:
        image.save(path)
    else:
        image.save(path, exif=_exif(orientation))
    return path


def _exif(orientation) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _with_palette(indices) -> Image.Image:
    image = Image.fromarray(np.asarray(indices, np.uint8), "P")
    image.putpalette(PALETTE)
    return image


def _problem(path, **options) -> UserError:
    with pytest.raises(UserError) as caught:
        read_image(path, **options)
    assert caught.value.where == str(path)
    return caught.value


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("colours", [False, True])
def test_orientation_is_applied(tmp_path, orientation, ending, colours):
    stored = np.stack([STORED[orientation]] * 3, -1) if colours else STORED[orientation]
    path = _save(tmp_path / f"a_0000{ending}", stored, orientation)
    image, geometry = NaturalImageIO().read_images([path])
    np.testing.assert_array_equal(image[:, 0], np.stack([UPRIGHT] * (3 if colours else 1)))
    assert geometry.shape == (1, 5, 7)
    if ending == ".png":
        np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(Image.open(path))),
                                      np.moveaxis(image[:, 0], 0, -1).squeeze())
    if not colours:
        segmentation, _ = NaturalImageIO().read_segmentation(path)
        np.testing.assert_array_equal(segmentation[0, 0], UPRIGHT)
        NaturalImageIO().write_segmentation(segmentation[0], tmp_path / f"out{ending}", geometry)
        np.testing.assert_array_equal(read_image(tmp_path / f"out{ending}")[0, 0], UPRIGHT)


def test_frames_of_telephones_are_upright_and_labels_lie_on_them(tmp_path):
    frames, labels = tmp_path / "v_0000", tmp_path / "v"
    frames.mkdir(), labels.mkdir()
    for name in ("f_0", "f_1"):
        _save(frames / f"{name}.jpg", np.kron(STORED[6] > 100, np.full((8, 8), 200)).astype(np.uint8), 6)
        _save(labels / f"{name}.png", np.kron(UPRIGHT > 100, np.ones((8, 8))).astype(np.uint8))
    image, geometry = FrameFolderIO().read_images([frames])
    truth, label_geometry = FrameFolderIO().read_segmentation(labels)
    assert geometry.shape == label_geometry.shape == (2, 40, 56)
    assert image[0][truth[0] == 1].min() > 150 and image[0][truth[0] == 0].max() < 50


def test_16_bit_grey_is_turned_too(tmp_path):
    path = _save(tmp_path / "a.png", STORED[8].astype(np.uint16) * 200, 8)
    np.testing.assert_array_equal(read_image(path)[0, 0], UPRIGHT.astype(np.uint16) * 200)


@pytest.mark.parametrize("ending", [".png", ".bmp"])
def test_a_palette_is_colours_in_an_image_and_indices_in_a_label(tmp_path, ending):
    indices = [[0, 1, 2], [3, 3, 1]]
    path = _save(tmp_path / f"a{ending}", _with_palette(indices))
    image, _ = NaturalImageIO().read_images([path])
    np.testing.assert_array_equal(np.moveaxis(image[:, 0], 0, -1), np.reshape(PALETTE, (4, 3))[indices])
    np.testing.assert_array_equal(NaturalImageIO().read_segmentation(path)[0][0, 0], indices)
    frames = tmp_path / "v"
    frames.mkdir()
    _save(frames / f"f{ending}", _with_palette(indices))
    np.testing.assert_array_equal(FrameFolderIO().read_segmentation(frames)[0][0, 0], indices)
    assert len(FrameFolderIO().read_images([frames])[0]) == 3


def test_a_tiffs_colour_map_is_for_display_only(tmp_path):
    path = _save(tmp_path / "a.tif", _with_palette([[0, 1, 2], [3, 3, 1]]))
    for indices in (False, True):
        np.testing.assert_array_equal(read_image(path, indices)[0, 0], [[0, 1, 2], [3, 3, 1]])


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_1_bit_images_hold_0_and_1(tmp_path, ending):
    path = _save(tmp_path / f"a{ending}", Image.fromarray(UPRIGHT > 90))
    for array in (NaturalImageIO().read_images([path])[0], NaturalImageIO().read_segmentation(path)[0]):
        np.testing.assert_array_equal(array[0, 0], UPRIGHT > 90)


@pytest.mark.parametrize(("mode", "ending"), [("CMYK", ".jpg"), ("LA", ".png")])
def test_modes_that_are_neither_grey_nor_rgb_are_refused(tmp_path, mode, ending):
    path = _save(tmp_path / f"a{ending}", Image.new(mode, (6, 4)))
    assert _problem(path).found == f"mode {mode}"


def test_cmyk_tiff_is_refused(tmp_path):
    assert _problem(_save(tmp_path / "a.tif",
                          Image.new("CMYK", (6, 4)))).found == "photometric interpretation SEPARATED"


def test_png_with_16_bits_a_colour_is_refused(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", 2, 1, 16, 2, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
                                     + chunk(b"IDAT", zlib.compress(bytes(13))) + chunk(b"IEND", b""))
    assert _problem(tmp_path / "a.png").found == "16 bits a colour"


def test_animations_are_refused_and_a_telephones_previews_are_not(tmp_path):
    first, second = (Image.fromarray(np.full((16, 16, 3), value, np.uint8)) for value in (40, 90))
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    assert _problem(tmp_path / "a.png").found == "2 frames"
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    assert read_image(tmp_path / "a.jpg").shape == (3, 1, 16, 16)
    assert np.all(read_image(tmp_path / "a.jpg") == 40)
