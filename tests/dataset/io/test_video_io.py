"""Videos: lossless ones come back bit by bit, the usual ones nearly; labels are folders of frames."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from skimage import io

from samunet.dataset.dataset import RawDataset
from samunet.dataset.geometry import Geometry
from samunet.dataset.integrity import verify_folder
from samunet.dataset.io.frame_folder_io import write_frames
from samunet.dataset.io.readers import choose_reader
from samunet.dataset.io.video_io import VideoIO
from samunet.errors import UserError

ROWS, COLUMNS = 16, 32


def write_video(path: Path, frames: np.ndarray, codec: str, pixels: str) -> None:
    """Frames uint8 (T, Y, X, 3)."""
    av = pytest.importorskip("av", reason="reading videos needs the extra `video`, which is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def noise(count: int) -> np.ndarray:
    return np.random.default_rng([0]).integers(0, 256, (count, ROWS, COLUMNS, 3)).astype(np.uint8)


def test_a_lossless_avi_bit_by_bit(tmp_path):
    write_video(tmp_path / "a_0000.avi", noise(5), "png", "rgb24")
    image, geometry = VideoIO().read_images([tmp_path / "a_0000.avi"])
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, np.moveaxis(noise(5), -1, 0))
    assert geometry == Geometry("VideoIO", (5, ROWS, COLUMNS), (4.0, 1.0, 1.0))


def test_colours_of_an_mp4_in_their_order(tmp_path):
    colours = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200], [90, 90, 90], [250, 250, 20]], np.uint8)
    frames = np.ascontiguousarray(np.broadcast_to(colours[:, None, None], (5, ROWS, COLUMNS, 3)))
    write_video(tmp_path / "a_0000.mp4", frames, "mpeg4", "yuv420p")
    image, _ = VideoIO().read_images([tmp_path / "a_0000.mp4"])
    assert np.abs(image.mean((2, 3)).T - colours).max() < 12


def test_labels_are_numbered_frames(tmp_path):
    segmentation = (noise(5)[..., 0] % 3).astype(np.int64)
    geometry = Geometry("VideoIO", (5, ROWS, COLUMNS), (4.0, 1.0, 1.0))
    VideoIO().write_segmentation(segmentation, tmp_path / "a", geometry)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [f"{index:06d}.png" for index in range(5)]
    np.testing.assert_array_equal(io.imread(tmp_path / "a" / "000003.png"), segmentation[3])
    again, label_geometry = VideoIO().read_segmentation(tmp_path / "a")
    np.testing.assert_array_equal(again[0], segmentation)
    assert label_geometry == geometry


def _dataset(folder: Path, label_frames: int) -> Path:
    write_video(folder / "imagesTr" / "a_0000.mp4", noise(5), "mpeg4", "yuv420p")
    # Other tools count from 1, or name frames otherwise: only the order counts.
    write_frames(np.ones((label_frames, ROWS, COLUMNS), np.uint8), folder / "labelsTr" / "a",
                 [f"image{index}" for index in range(1, label_frames + 1)])
    (folder / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "R", "1": "G", "2": "B"}, "labels": {"background": 0, "tool": 1}, "numTraining": 1,
        "file_ending": ".mp4"}))
    return folder


def test_a_dataset_of_videos(tmp_path):
    raw: RawDataset = verify_folder(_dataset(tmp_path / "Dataset009_Videos", 5), 1)
    assert choose_reader(raw) == "VideoIO" and raw.label_ending == "/"
    assert raw.cases[0].images[0].name == "a_0000.mp4" and raw.cases[0].label == raw.folder / "labelsTr" / "a"


def _problem(call, argument) -> UserError:
    with pytest.raises(UserError) as caught:
        call(argument)
    return caught.value


def test_a_label_frame_too_few(tmp_path):
    folder = _dataset(tmp_path / "Dataset009_Videos", 4)
    problem = _problem(lambda folder: verify_folder(folder, 1), folder)
    assert problem.rule == "A label file must have its image's shape."
    assert problem.found == f"(4, 16, 32); {folder / 'imagesTr' / 'a_0000.mp4'} has (5, 16, 32) (z, y, x)"
    assert problem.mend == "Give a label frame of its size for each of its frames."


def test_a_damaged_video(tmp_path):
    write_video(tmp_path / "a_0000.mp4", noise(5), "mpeg4", "yuv420p")
    data = (tmp_path / "a_0000.mp4").read_bytes()
    (tmp_path / "a_0000.mp4").write_bytes(data[: len(data) // 2])
    assert _problem(VideoIO().read_images,
                    [tmp_path / "a_0000.mp4"]).rule.startswith("An image or label file must be readable")


def test_frames_that_cannot_be_decoded_are_reported(tmp_path, capsys):
    write_video(tmp_path / "a_0000.avi", noise(5), "png", "rgb24")
    data = (tmp_path / "a_0000.avi").read_bytes()
    (tmp_path / "a_0000.avi").write_bytes(data[: len(data) * 2 // 3])
    try:
        image, _ = VideoIO().read_images([tmp_path / "a_0000.avi"])
    except UserError as fault:
        assert fault.rule.startswith("An image or label file must be readable")
    else:
        assert image.shape[1] < 5 and "says that it has 5 frames" in capsys.readouterr().err


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a_0000.mp4").touch()
    problem = _problem(VideoIO().read_images, [tmp_path / "a_0000.mp4"])
    assert problem.found == "it is not installed" and "samunet[video]" in problem.mend


def test_a_rotation_that_players_apply_is_said(tmp_path, monkeypatch, capsys):
    av = pytest.importorskip("av")

    class Frame:
        rotation = -90

        def to_ndarray(self, format: str) -> np.ndarray:
            return np.zeros((4, 6, 3), np.uint8)

    class Container:
        streams = type("Streams", (), {"video": [type("Stream", (), {"frames": 1})]})
        __enter__ = __exit__ = lambda self, *_: self if not _ else None

        def decode(self, video: int) -> list[Frame]:
            return [Frame()]

    (tmp_path / "a_0000.mp4").write_bytes(b"made")
    monkeypatch.setattr(av, "open", lambda path: Container())
    image, _ = VideoIO().read_images([tmp_path / "a_0000.mp4"])
    assert image.shape == (3, 1, 4, 6)
    assert "a_0000.mp4 by -90 degrees" in capsys.readouterr().err
