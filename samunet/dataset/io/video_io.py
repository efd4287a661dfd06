"""VideoIO: .mp4 and .avi videos, read frame by frame; their labels are folders of frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from samunet.console import say
from samunet.dataset.geometry import Geometry
from samunet.dataset.io.frame_folder_io import (
    SEQUENCE_SPACING_MM,
    read_frames,
    sequence_geometry,
    stacked,
    write_frames,
)
from samunet.dataset.voxel_checks import as_image, as_segmentation, cannot_read, require_file
from samunet.errors import UserError

NAME = "VideoIO"


class VideoIO:
    """See `samunet.dataset.io.readers.ReaderWriter`. The first video stream gives three channels, RGB; Z is time.

    Frames of a video have no names: label frames belong to them by their order, regardless of their names, and written
    frames are numbered from 0. Rotation that a player would apply (telephone videos) is not applied.
    """

    name = NAME

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        """float32 (3, T, Y, X) of one video."""
        image = as_image([_read(Path(path)) for path in paths], paths, [SEQUENCE_SPACING_MM] * len(paths))
        return image, sequence_geometry(NAME, image, ())

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        """int16 (1, T, Y, X) of a folder of label frames."""
        frames, _ = read_frames(Path(path), indices=True)
        segmentation = as_segmentation(frames, path)
        return segmentation, sequence_geometry(NAME, segmentation, ())

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        """Write integer (T, Y, X) as a folder of PNG frames."""
        write_frames(segmentation, Path(path), ())


def _read(path: Path) -> np.ndarray:
    """Array uint8 (3, T, Y, X) of every frame that can be decoded, with a warning if the header promises more."""
    require_file(path)
    av = _library(path)
    try:
        with av.open(str(path)) as container:
            promised = container.streams.video[0].frames
            frames, rotations = [], set()
            for frame in container.decode(video=0):
                frames.append(frame.to_ndarray(format="rgb24"))
                rotations.add(frame.rotation)
    except Exception as fault:  # decoders raise all kinds of exceptions on damaged files
        raise cannot_read(path, fault) from fault
    if not frames:
        raise cannot_read(path, ValueError("no frame could be decoded"))
    if rotations != {0}:
        degrees = ", ".join(map(str, sorted(rotations - {0})))
        say(f"Warning: players rotate {path} by {degrees} degrees. samunet reads the frames as stored; labels must "
            "have the same orientation.")
    if len(frames) < promised:
        say(f"Warning: {path} says that it has {promised} frames; {len(frames)} could be decoded.")
    return stacked([np.moveaxis(frame, -1, 0) for frame in frames], [str(index) for index in range(len(frames))], path)


def _library(path: Path) -> ModuleType:
    """PyAV, which only the extra `video` installs."""
    try:
        import av
    except ImportError as fault:
        raise UserError("Reading videos needs the package av (PyAV).", where=path, found="it is not installed",
                        mend="Install the extra: pip install 'samunet[video]'. Or convert the videos to folders "
                             "of frames.") from fault
    return av
