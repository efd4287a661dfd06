"""FrameFolderIO: a case is a folder of images, one for each time point; time is the slice axis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from samunet.dataset.geometry import Geometry
from samunet.dataset.io.frame_names import frame_paths, listing_problems, name_problems
from samunet.dataset.io.image_file import read_image
from samunet.dataset.io.natural_image_io import write_plane
from samunet.dataset.voxel_checks import as_image, as_segmentation, for_writing
from samunet.errors import UserError, joined, some
from samunet.files import whole_folder

NAME = "FrameFolderIO"
# Time has no millimetres. More than 3 times the pixel spacing, so that plans treat the axis as coarse: it comes first,
# and augmentation does not tilt or bend frames against each other. Low enough that 3D networks combine neighbouring
# frames after they have halved the plane twice.
SEQUENCE_SPACING_MM = (4.0, 1.0, 1.0)
LABEL_ENDING = ".png"  # lossless, and every annotation tool reads it


class FrameFolderIO:
    """See `samunet.dataset.io.readers.ReaderWriter`. Grey frames give one channel, RGB three; Z is time.

    Frames are in the natural order of their names. Label frames are PNG, with the names of the image's frames.
    """

    name = NAME

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        """float32 (C, T, Y, X) of one folder for each channel, whose frames must have the same names."""
        read = [read_frames(Path(path)) for path in paths]
        names = read[0][1]
        if problems := [problem for path, (_, found) in zip(paths, read, strict=True)
                        for problem in name_problems(found, names, Path(path), "first channel")]:
            raise joined(problems)
        image = as_image([frames for frames, _ in read], paths, [SEQUENCE_SPACING_MM] * len(read))
        return image, sequence_geometry(NAME, image, names)

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        """int16 (1, T, Y, X) of a folder of label frames."""
        frames, names = read_frames(Path(path), indices=True)
        segmentation = as_segmentation(frames, path)
        return segmentation, sequence_geometry(NAME, segmentation, names)

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        """Write integer (T, Y, X) as one PNG for each frame, named as the image's frames."""
        write_frames(segmentation, Path(path), geometry.frames)


def sequence_geometry(reader: str, array: np.ndarray, names: tuple[str, ...]) -> Geometry:
    """The grid of an array (C, T, Y, X) with frames of these `names`, or none."""
    return Geometry(reader, (array.shape[1], array.shape[2], array.shape[3]), SEQUENCE_SPACING_MM, frames=names)


def read_frames(folder: Path, indices: bool = False) -> tuple[np.ndarray, tuple[str, ...]]:
    """Array (C, T, Y, X) in the files' own type, and the frames' names; `indices` as in `read_image`.

    Raises:
        UserError: no folder, no frames, or a name twice; unreadable frames, all of them together; frames of several
            sizes.
    """
    if problems := listing_problems(folder):
        raise joined(problems)
    frames, names = [], []
    for path in frame_paths(folder):
        names.append(path.stem)
        try:
            frames.append(read_image(path, indices)[:, 0])
        except UserError as fault:
            problems.append(fault)
    if problems:
        raise joined(problems)
    return stacked(frames, names, folder), tuple(names)


def stacked(frames: Sequence[np.ndarray], names: Sequence[str], where: Path) -> np.ndarray:
    """Frames, each (C, Y, X), as (C, T, Y, X).

    Raises:
        UserError: frames that differ in size or number of channels from most others; all of them are named.
    """
    usual = Counter(frame.shape for frame in frames).most_common(1)[0][0]
    others = [f"{name} ({_size(frame.shape)})" for name, frame in zip(names, frames, strict=True)
              if frame.shape != usual]
    if others:
        raise UserError("All frames of a sequence must have one size, and all be grey or all in colour.", where=where,
                        found=f"{len(others)} of {len(frames)} are not {_size(usual)}: {some(others)}",
                        mend="Scale or convert these frames, or make them cases of their own.")
    return np.stack(frames, axis=1)


def write_frames(segmentation: np.ndarray, folder: Path, names: Sequence[str]) -> None:
    """Write integer (T, Y, X) as PNG files NAME.png into `folder`, all or none; without names numbered from 000000."""
    frames = for_writing(segmentation)
    with whole_folder(folder) as temporary:
        for name, frame in zip(names or [f"{index:06d}" for index in range(len(frames))], frames, strict=True):
            write_plane(frame, temporary / f"{name}{LABEL_ENDING}")


def _size(shape: tuple[int, ...]) -> str:
    channels, rows, columns = shape
    return f"{rows} x {columns} with {channels} channel{'s' if channels > 1 else ''}"
