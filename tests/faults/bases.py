"""The places that receive bad input: the job of volumes, and small ones of images, 3D TIFFs, frames and videos."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import tifffile
from skimage import io

from tests.faults.entry import commands_at
from tests.faults.job import undisturbed
from tests.faults.place import Place, scan, write_encoder
from tests.faults.warm import run

CASES = 4
Writer = Callable[[Path, np.ndarray], None]
ENDINGS = {"pictures": ".png", "tiffs": ".tif", "frames": "/", "videos": ".mp4", "sequences": ".tif"}


def prepared(folder: Path, names: Collection[str]) -> dict[str, Place]:
    """The bases with these names, below `folder`: planned, a label_prior trained, and two cases predicted with it."""
    encoder = write_encoder(folder / "small.safetensors")
    return {name: _volumes(folder / name) if name == "volumes" else _pictures(name, folder / name, encoder)
            for name in sorted(names)}


def _volumes(folder: Path) -> Place:
    folder.mkdir()
    place = undisturbed(folder).done
    shutil.copytree(place.dataset / "imagesTs", place.path("in"))
    place.path("small.safetensors").symlink_to(place.encoder)  # by which command lines name it
    _must(place, "predict")
    place.path("out_new").rename(place.path("out_prior"))
    _must(place, "evaluate")
    return place


def _pictures(name: str, folder: Path, encoder: Path) -> Place:
    place = Place(folder, encoder)
    ending = ENDINGS[name]
    for case in range(CASES + 2):
        part = "Tr" if case < CASES else "Ts"
        image, label = scan(case)
        image = image.clip(0, 255).astype(np.uint8)
        _write_image(name, place.dataset / f"images{part}" / f"c{case}_0000{ending.rstrip('/')}", image)
        _write_label(name, place.dataset / f"labels{part}" / f"c{case}{'' if name in ('frames', 'videos') else ending}",
                     label)
    colours = 3 if name == "videos" else 1
    content = {"channel_names": {str(channel): "rescale_to_0_1" for channel in range(colours)},
               "labels": {"background": 0, "A": 1, "B": 2},
               "numTraining": CASES,
               "file_ending": ending} | ({"overwrite_image_reader_writer": "TiffSequenceIO"} if name == "sequences"
                                         else {})
    (place.dataset / "dataset.json").write_text(json.dumps(content))
    for command in ("plan", "fit", "predict"):
        _must(place, command)
    place.path("out_new").rename(place.path("out"))
    _must(place, "evaluate")
    return place


def _write_image(name: str, path: Path, image: np.ndarray) -> None:
    """Write (z, y, x) as the base's images are; a 2D image is the middle slice."""
    if name == "frames":
        for number, frame in enumerate(image):
            write_picture(path / f"f{number}.png", frame)
    elif name == "videos":
        write_video(path, image)
    elif name == "pictures":
        write_picture(path, image[3])
    else:
        write_tiff(path, image)


def _write_label(name: str, path: Path, label: np.ndarray) -> None:
    _write_image("frames" if name == "videos" else name, path, _enlarged(label) if name == "videos" else label)


def write_picture(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    io.imsave(str(path), array, check_contrast=False)


def write_tiff(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, array, photometric="minisblack")
    path.with_name(path.name.replace("_0000", "")).with_suffix(".json").write_text('{"spacing": [2, 1.2, 1]}')


def write_video(path: Path, array: np.ndarray) -> None:
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    array = _enlarged(array)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = array.shape[2], array.shape[1], "yuv420p"
        for picture in array:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.stack([picture] * 3, -1), format="rgb24")))
        container.mux(stream.encode())


def _enlarged(array: np.ndarray) -> np.ndarray:
    """Video codecs want more pixels than the scan has."""
    return array.repeat(4, 1).repeat(4, 2)


def _must(place: Place, command: str) -> None:
    ended = run(commands_at(place)[command], place.environment)
    assert ended.code == 0, f"{command}: {ended.err}"
