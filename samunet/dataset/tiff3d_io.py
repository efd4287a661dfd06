"""Tiff3DIO: 3D TIFF files, whose spacing stands in a JSON file beside them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tifffile
from msgspec import Meta

from samunet.console import say
from samunet.dataset.geometry import Geometry
from samunet.dataset.voxel_checks import as_image, as_segmentation, cannot_read, for_writing, require_file
from samunet.errors import UserError
from samunet.files import read_json, whole_file, write_json
from samunet.schema import decode

NAME = "Tiff3DIO"
TIFF_ENDINGS = (".tif", ".tiff")
Millimetres = Annotated[float, Meta(ge=1e-3, le=1e4)]
MASK = 4  # TIFF 6.0, NewSubfileType: bit 2, a transparency mask


@dataclass(frozen=True)
class _SpacingFile:
    spacing: tuple[Millimetres, Millimetres, Millimetres]


class Tiff3dIO:
    """See `samunet.dataset.readers.ReaderWriter`.

    nnU-Net's convention: beside CASE_0000.tif, or CASE.tif for a label, lies CASE.json with {"spacing": [z, y, x]} in mm.
    Without it the spacing is 1 mm, which is said.
    """

    name = NAME

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        arrays = [_read(Path(path)) for path in paths]
        first = Path(paths[0])
        spacing_mm = _spacing_mm(image_spacing_file(first), first)
        image = as_image(arrays, paths, [spacing_mm] * len(arrays))
        return image, _geometry(image, spacing_mm)

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        path = Path(path)
        segmentation = as_segmentation(_read(path), path)
        return segmentation, _geometry(segmentation, _spacing_mm(label_spacing_file(path), path))

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        # The spacing first: where the image exists, its spacing does too.
        write_json(label_spacing_file(Path(path)), {"spacing": list(geometry.spacing_mm)})
        with whole_file(Path(path)) as temporary:
            tifffile.imwrite(temporary, for_writing(segmentation), compression="zlib")


def image_spacing_file(path: Path) -> Path:
    """Where the spacing of a case's first image, CASE_0000.tif, is looked for."""
    return path.with_name(re.sub(r"_[0-9]{4}$", "", path.stem) + ".json")


def label_spacing_file(path: Path) -> Path:
    """Where the spacing of a label or a prediction, CASE.tif, is looked for."""
    return path.with_suffix(".json")


def holds_volume(path: Path) -> bool:
    """Whether a .tif holds slices (Tiff3DIO) and not one image, grey or with 3 or 4 colours first or last."""
    shape, _ = _series(path)[0]
    return len(shape) == 3 and shape[0] not in (3, 4) and shape[-1] not in (3, 4)


def require_one_series(path: Path) -> None:
    """Refuse a TIFF whose pages were written one by one as pictures of their own, of which the first alone would be read.

    What is beside the first in another size or type, thumbnails, the levels of a pyramid, masks, is no page.

    Raises:
        UserError: several series of one shape and type, or a file that cannot be read.
    """
    shapes, types = zip(*_series(path), strict=True)
    if len(shapes) > 1 and len({*shapes}) == len({*types}) == 1:
        raise UserError("A TIFF must hold one picture, or one volume that was written as one array.", where=path,
                        found=f"{len(shapes)} of shape {shapes[0]}",
                        mend="Write a volume's slices in one call, as in tifffile.imwrite(path, volume), and other pages as files of "
                             "their own.")


def _series(path: Path) -> list[tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of each picture or volume that a TIFF says that it holds; those of masks are left out, the first never."""
    require_file(path)
    try:
        with tifffile.TiffFile(path) as file:
            first, *others = file.series
            return [(series.shape, series.dtype) for series in (first, *(each for each in others if not each.keyframe.subfiletype & MASK))]
    except Exception as fault:  # decoders raise all kinds of exceptions on damaged files
        raise cannot_read(path, fault) from fault


def _geometry(array: np.ndarray, spacing_mm: tuple[float, float, float]) -> Geometry:
    return Geometry(reader=NAME, shape=(array.shape[1], array.shape[2], array.shape[3]), spacing_mm=spacing_mm)


def _read(path: Path) -> np.ndarray:
    """Array (1, Z, Y, X) in the file's own type."""
    require_one_series(path)
    try:
        array = tifffile.imread(path)
    except Exception as fault:  # decoders raise all kinds of exceptions on damaged files
        raise cannot_read(path, fault) from fault
    if array.ndim != 3:
        raise UserError("A 3D TIFF must have three axes (slices, rows, columns).", where=path,
                        found=f"shape {array.shape}",
                        mend="Save one file for each channel; pages in colour are read by TiffSequenceIO.")
    return array[None]


def _spacing_mm(path: Path, image: Path) -> tuple[float, float, float]:
    if not path.is_file():
        say(f"Warning: {image} has no {path.name} beside it with its spacing; 1 mm is assumed.")
        return 1.0, 1.0, 1.0
    return decode(_SpacingFile, read_json(path), where=path, rule=
                  'A TIFF\'s spacing file must hold {"spacing": [z, y, x]}, three values from 0.001 to 10,000 mm.').spacing
