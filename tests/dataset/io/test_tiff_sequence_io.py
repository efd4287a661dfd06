"""Sequences as multi-page TIFFs: colours, one page, three pages, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from samunet.dataset.dataset import load_dataset
from samunet.dataset.geometry import Geometry
from samunet.dataset.integrity import verify_folder
from samunet.dataset.io.readers import choose_reader
from samunet.dataset.io.tiff_sequence_io import TiffSequenceIO
from samunet.errors import UserError


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng([0]).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("pages", [1, 3, 5])
@pytest.mark.parametrize("saved", ["rgb", "planes", "array", "page by page", "imagej"])
def test_colours_and_time(tmp_path, pages, saved):
    frames, path = _pixels(pages, 4, 6, 3), tmp_path / "a_0000.tif"
    if saved == "rgb":
        tifffile.imwrite(path, frames, photometric="rgb", compression="zlib")
    elif saved == "planes":
        tifffile.imwrite(path, np.moveaxis(frames, -1, 1), photometric="rgb", planarconfig="separate")
    elif saved == "array":
        tifffile.imwrite(path, frames.astype(np.float32), photometric="minisblack")
    elif saved == "imagej":
        tifffile.imwrite(path, np.moveaxis(frames, -1, 1), imagej=True, metadata={"axes": "TCYX"})
    else:
        with tifffile.TiffWriter(path) as writer:
            for frame in frames:
                writer.write(frame, photometric="rgb", contiguous=False, metadata=None)
    image, geometry = TiffSequenceIO().read_images([path])
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, np.moveaxis(frames, -1, 0))
    assert geometry == Geometry("TiffSequenceIO", (pages, 4, 6), (4.0, 1.0, 1.0))


@pytest.mark.parametrize("pages", [1, 3, 4, 5])
def test_labels_come_back(tmp_path, pages):
    segmentation = _pixels(pages, 4, 6) % 3
    geometry = Geometry("TiffSequenceIO", (pages, 4, 6), (4.0, 1.0, 1.0))
    TiffSequenceIO().write_segmentation(segmentation.astype(np.int64), tmp_path / "a.tif", geometry)
    again, label_geometry = TiffSequenceIO().read_segmentation(tmp_path / "a.tif")
    np.testing.assert_array_equal(again[0], segmentation)
    assert again.dtype == np.int16 and label_geometry == geometry
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages) == pages and file.pages[0].shape == (4, 6)


def _problem(call, argument) -> UserError:
    with pytest.raises(UserError) as caught:
        call(argument)
    return caught.value


def test_pages_of_two_sizes(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a_0000.tif") as writer:
        for columns in (6, 6, 5):
            writer.write(_pixels(4, columns, 3), photometric="rgb", metadata=None)
    problem = _problem(TiffSequenceIO().read_images, [tmp_path / "a_0000.tif"])
    assert problem.rule.startswith("All pages of a sequence must have one size")
    assert problem.found == "pages of shapes (2, 4, 6, 3), (4, 5, 3)"


def test_damaged_and_missing(tmp_path):
    (tmp_path / "a_0000.tif").write_bytes(b"no image")
    assert _problem(TiffSequenceIO().read_images,
                    [tmp_path / "a_0000.tif"]).rule.startswith("An image or label file must be")
    assert _problem(TiffSequenceIO().read_segmentation, tmp_path / "a.tif").found == "no such file"


def test_dataset_json_says_that_tiffs_are_sequences(tmp_path):
    folder = tmp_path / "Dataset008_Pages"
    for part, name, array in (("imagesTr", "a_0000", _pixels(3, 4, 6, 3)), ("labelsTr", "a", _pixels(3, 4, 6) % 2)):
        (folder / part).mkdir(parents=True)
        tifffile.imwrite(folder / part / f"{name}.tif", array, photometric="rgb" if array.ndim == 4 else "minisblack")
    content = {"channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "tool": 1},
               "numTraining": 1,
               "file_ending": ".tif"}
    (folder / "dataset.json").write_text(json.dumps({**content, "overwrite_image_reader_writer": "TiffSequenceIO"}))
    assert choose_reader(verify_folder(folder, 1)) == "TiffSequenceIO"
    (folder / "dataset.json").write_text(json.dumps(content))
    assert choose_reader(load_dataset(folder)) == "NaturalImage2DIO"
    assert "TiffSequenceIO" in str(_problem(lambda path: verify_folder(path, 1), folder))
