"""Which reader-writer a dataset's files need, and what all of them promise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from samunet.dataset.case_paths import FRAME_FOLDER
from samunet.dataset.geometry import Geometry
from samunet.errors import UserError

if TYPE_CHECKING:
    from samunet.dataset.dataset import RawDataset

# nnU-Net's names. Its nibabel readers give the same axes as SimpleITKIO; those "WithReorient" turn arrays to RAS
# first, which ours need not: files are read, and written again, on their own grid.
_ALIASES = {
    "NibabelIO": "SimpleITKIO",
    "NibabelIOWithReorient": "SimpleITKIO",
    "SimpleITKIOWithReorient": "SimpleITKIO",
}
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
# samunet's own, whose slices are moments.
SEQUENCE_READERS = ("FrameFolderIO", "TiffSequenceIO", "VideoIO")


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
    """The names that `reader_named` knows, sorted."""
    return sorted({*_BY_ENDING.values(), *_ALIASES, *SEQUENCE_READERS})


def reader_named(name: str) -> ReaderWriter:
    """The reader-writer of nnU-Net's name `name`, or of samunet's own for sequences.

    Raises:
        UserError: unknown name; lists the known ones.
    """
    own = _ALIASES.get(name, name)
    if own == "SimpleITKIO":
        from samunet.dataset.sitk_io import SimpleItkIO

        return SimpleItkIO()
    if own == "NaturalImage2DIO":
        from samunet.dataset.natural_image_io import NaturalImageIO

        return NaturalImageIO()
    if own == "Tiff3DIO":
        from samunet.dataset.tiff3d_io import Tiff3dIO

        return Tiff3dIO()
    if own == "FrameFolderIO":
        from samunet.dataset.frame_folder_io import FrameFolderIO

        return FrameFolderIO()
    if own == "TiffSequenceIO":
        from samunet.dataset.tiff_sequence_io import TiffSequenceIO

        return TiffSequenceIO()
    if own == "VideoIO":
        from samunet.dataset.video_io import VideoIO

        return VideoIO()
    raise UserError(
        "The reader (`overwrite_image_reader_writer` in dataset.json) must be a known one.",
        found=name,
        mend=f'Use one of {", ".join(reader_names())}, or "None" to choose by the file ending.',
    )


def choose_reader(dataset: RawDataset) -> str:
    """Name of the reader-writer for `dataset`'s files; see `reader_for`."""
    example = dataset.cases[0].images[0] if dataset.cases else None
    return reader_for(dataset.reader, dataset.file_ending, example, dataset.folder / "dataset.json")


def reader_for(overwrite: object, file_ending: str, example: Path | None, where: Path) -> str:
    """Name of a reader-writer: `overwrite` where it is given, else by the file ending.

    A .tif is a natural image where its array is 2D or has 3 or 4 colours first or last, else a 3D volume (Tiff3DIO). A sequence
    in a TIFF is read as one only where `overwrite` says so, because its labels look like a volume.

    Arguments:
        overwrite: dataset.json's `overwrite_image_reader_writer`, whatever stands there; None and "None" choose by the ending.
        example: one of the files, opened only if it is a .tif; None where there is none yet.
        where: dataset.json, for the message.

    Raises:
        UserError: unknown reader or file ending, or an example that cannot be read.
    """
    if overwrite not in (None, "None"):
        return reader_named(str(overwrite)).name
    ending = file_ending.lower()
    if ending not in _BY_ENDING:
        raise UserError(
            "The `file_ending` in dataset.json must be one that samunet reads.",
            where=where,
            found=file_ending,
            mend=f"Convert the images to one of {', '.join(_BY_ENDING)} (a folder of frames).",
        )
    if ending == ".tif" and example is not None:
        from samunet.dataset.tiff3d_io import holds_volume

        return "Tiff3DIO" if holds_volume(example) else "NaturalImage2DIO"
    return _BY_ENDING[ending]
