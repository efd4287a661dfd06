"""Which reader-writer a dataset's files need, and the interface of all of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from samunet.dataset.case_paths import FRAME_FOLDER, SEQUENCE_READERS, VIDEO_ENDINGS
from samunet.dataset.geometry import Geometry
from samunet.errors import UserError
from samunet.extensions import READERS, extensions, loaded

if TYPE_CHECKING:
    from samunet.dataset.dataset import RawDataset

# nnU-Net's NibabelIO gives the same arrays as our SimpleITKIO, which reads NIfTI through nibabel.
_ALIASES = {"NibabelIO": "SimpleITKIO"}
# Those that turn arrays to RAS.
ORIENTED_READERS = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")
_BY_ENDING = {
    ".nii.gz": "SimpleITKIO",
    ".nii": "SimpleITKIO",
    ".nrrd": "SimpleITKIO",
    ".mha": "SimpleITKIO",
    ".gipl": "SimpleITKIO",
    ".png": "NaturalImage2DIO",
    ".bmp": "NaturalImage2DIO",
    ".tif": "NaturalImage2DIO",
    ".tiff": "Tiff3DIO",
    ".mp4": "VideoIO",
    ".avi": "VideoIO",
    FRAME_FOLDER: "FrameFolderIO",
}
VOLUME_ENDINGS = tuple(ending for ending, reader in _BY_ENDING.items() if reader == "SimpleITKIO")
# The endings of readers that are limited to some formats. JPEG is missing: it would change label values.
_READS = {
    "NaturalImage2DIO": (".png", ".bmp", ".tif", ".tiff"),
    "Tiff3DIO": (".tif", ".tiff"),
    "TiffSequenceIO": (".tif", ".tiff"),
    "FrameFolderIO": (FRAME_FOLDER,),
    "VideoIO": VIDEO_ENDINGS,
}


class ReaderWriter(Protocol):
    """Reads images and segmentations of one family of formats, and writes segmentations back on the same grid."""

    name: str

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        """Read one case: float32 (C, Z, Y, X), the files' channels stacked in their order, and the first's geometry.

        Raises:
            UserError: a file that is missing or cannot be read, NaN or Inf, channels of different shape or spacing.
        """
        ...

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        """Read a label file: int16 (1, Z, Y, X) and its geometry.

        Raises:
            UserError: a file that is missing or cannot be read, several values a voxel, values that are no whole
                numbers or do not fit int16.
        """
        ...

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        """Write integer (Z, Y, X) to `path`, whole or not at all. uint8 and uint16 keep their type (LabelSpace.dtype);
        others become uint8 where every value is below 255, else uint16.
        """
        ...


def reader_names() -> list[str]:
    """The names that `reader_named` knows: samunet's own, sorted, then those of installed packages.

    Raises:
        UserError: see `extensions.extensions`.
    """
    return [*_own_names(), *extensions(READERS, _own_names())]


def _own_names() -> list[str]:
    return sorted({*_BY_ENDING.values(), *_ALIASES, *ORIENTED_READERS, *SEQUENCE_READERS})


def reader_named(name: str) -> ReaderWriter:
    """The reader-writer of nnU-Net's name `name`, of samunet's own for sequences, or of an installed package.

    Raises:
        UserError: unknown name; lists the known ones. A package that cannot be imported.
    """
    own = _ALIASES.get(name, name)
    if own == "SimpleITKIO":
        from samunet.dataset.io.sitk_io import SimpleItkIO

        return SimpleItkIO()
    if own in ORIENTED_READERS:
        from samunet.dataset.io.oriented_io import OrientedIO

        return OrientedIO(own)
    if own == "NaturalImage2DIO":
        from samunet.dataset.io.natural_image_io import NaturalImageIO

        return NaturalImageIO()
    if own == "Tiff3DIO":
        from samunet.dataset.io.tiff3d_io import Tiff3dIO

        return Tiff3dIO()
    if own == "FrameFolderIO":
        from samunet.dataset.io.frame_folder_io import FrameFolderIO

        return FrameFolderIO()
    if own == "TiffSequenceIO":
        from samunet.dataset.io.tiff_sequence_io import TiffSequenceIO

        return TiffSequenceIO()
    if own == "VideoIO":
        from samunet.dataset.io.video_io import VideoIO

        return VideoIO()
    if point := extensions(READERS, _own_names()).get(own):
        outside: ReaderWriter = loaded(point)()
        return outside
    raise UserError(
        "The reader (`overwrite_image_reader_writer` in dataset.json) must be one that samunet knows.",
        found=name,
        mend=f'Use one of {", ".join(reader_names())}, or "None" to choose by the file ending.',
    )


def ending_problems(reader: str | None, file_ending: str, where: Path) -> list[UserError]:
    """Whether samunet reads files with dataset.json's `file_ending`; where it names a reader, whether this one does.

    Readers of volumes that are given by name may read further formats, but neither videos nor folders.
    """
    ending = file_ending.lower()
    if reader is None:
        return [] if ending in _BY_ENDING else [_unread_ending(file_ending, where)]
    of_volumes = reader not in _READS
    read = VOLUME_ENDINGS if of_volumes else _READS[reader]
    if ending in read or (of_volumes and ending not in (*VIDEO_ENDINGS, FRAME_FOLDER)):
        return []
    return [UserError(
        "The reader (`overwrite_image_reader_writer` in dataset.json) must read files with the `file_ending`.",
        where=where,
        found=f"{reader} for {file_ending}",
        mend=f'{reader} reads {", ".join(read)}. Correct the ending, or write "None" to choose the reader by it.',
    )]


def ending_of(path: Path) -> str:
    """The ending of an image file as `_BY_ENDING` has it, `/` for a folder; empty where none fits."""
    if os.path.isdir(path):  # Path.is_dir raises for names that are too long
        return FRAME_FOLDER
    name = path.name.lower()
    return next((path.name[-len(ending) :] for ending in _BY_ENDING if name.endswith(ending)), "")


def reader_of_file(path: Path) -> str:
    """Name of the reader-writer for a file that belongs to no dataset, by its ending; see `reader_for`.

    Raises:
        UserError: an ending that no reader reads.
    """
    ending = ending_of(path)
    if not ending:
        raise UserError("An image file must have an ending that samunet reads.", where=path,
                        found=path.suffix or "no ending",
                        mend=f"Convert it to one of {', '.join(_BY_ENDING)} (a folder of frames).")
    return reader_for(None, ending, path if os.path.isfile(path) else None, path)


def _unread_ending(file_ending: str, where: Path) -> UserError:
    return UserError(
        "The `file_ending` in dataset.json must be one that samunet reads.",
        where=where,
        found=file_ending,
        mend=f"Convert the images to one of {', '.join(_BY_ENDING)} (a folder of frames).",
    )


def choose_reader(dataset: RawDataset) -> str:
    """Name of the reader-writer for `dataset`'s files; see `reader_for`."""
    example = dataset.cases[0].images[0] if dataset.cases else None
    return reader_for(dataset.reader, dataset.file_ending, example, dataset.folder / "dataset.json")


def reader_for(overwrite: object, file_ending: str, example: Path | None, where: Path) -> str:
    """Name of a reader-writer: `overwrite` where it is given, else by the file ending.

    A .tif is a natural image where its array is 2D or has 3 or 4 colours first or last, else a 3D volume (Tiff3DIO). A
    sequence in a TIFF is read as one only where `overwrite` says so, because its labels look like a volume.

    Arguments:
        overwrite: dataset.json's `overwrite_image_reader_writer`, of any type; None and "None" choose by the ending.
        example: one of the files, opened only if it is a .tif; None if there is none yet.
        where: dataset.json, for the message.

    Raises:
        UserError: unknown reader or file ending, or an example that cannot be read.
    """
    if overwrite not in (None, "None"):
        return reader_named(str(overwrite)).name
    ending = file_ending.lower()
    if ending not in _BY_ENDING:
        raise _unread_ending(file_ending, where)
    if ending == ".tif" and example is not None:
        from samunet.dataset.io.tiff_file import holds_volume

        return "Tiff3DIO" if holds_volume(example) else "NaturalImage2DIO"
    return _BY_ENDING[ending]
