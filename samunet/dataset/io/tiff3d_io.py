"""Tiff3DIO: 3D TIFF files, whose spacing is in a JSON file next to them."""

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
from samunet.dataset.grid_checks import MAX_SPACING_MM, MIN_SPACING_MM
from samunet.dataset.io.tiff_file import read_tiff, require_one_series
from samunet.dataset.voxel_checks import as_image, as_segmentation, for_writing
from samunet.errors import UserError
from samunet.files import read_json, whole_file, write_json
from samunet.schema import decode

NAME = "Tiff3DIO"
SpacingMm = Annotated[float, Meta(ge=MIN_SPACING_MM, le=MAX_SPACING_MM)]


@dataclass(frozen=True)
class SpacingFile:
    """The JSON file next to a 3D TIFF."""

    spacing: tuple[SpacingMm, SpacingMm, SpacingMm]


class Tiff3dIO:
    """See `samunet.dataset.io.readers.ReaderWriter`.

    nnU-Net's convention: next to CASE_0000.tif, or CASE.tif for a label, is CASE.json with {"spacing": [z, y, x]} in
    mm. Without it the spacing is 1 mm, with a warning.
    """

    name = NAME

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        """float32 (C, Z, Y, X) of one file for each channel, and the grid with the spacing of the first."""
        arrays = [_read(Path(path)) for path in paths]
        first = Path(paths[0])
        spacing_mm = _spacing_mm(image_spacing_file(first), first)
        image = as_image(arrays, paths, [spacing_mm] * len(arrays))
        return image, _geometry(image, spacing_mm)

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        """int16 (1, Z, Y, X) and its grid."""
        path = Path(path)
        segmentation = as_segmentation(_read(path), path)
        return segmentation, _geometry(segmentation, _spacing_mm(label_spacing_file(path), path))

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        """Write integer (Z, Y, X), and its spacing to CASE.json."""
        # The spacing first: where the image exists, its spacing does too.
        write_json(label_spacing_file(Path(path)), {"spacing": list(geometry.spacing_mm)})
        with whole_file(Path(path)) as temporary:
            tifffile.imwrite(temporary, for_writing(segmentation), compression="zlib")


def image_spacing_file(path: Path) -> Path:
    """The spacing file of a case's first image, CASE_0000.tif."""
    return path.with_name(re.sub(r"_[0-9]{4}$", "", path.stem) + ".json")


def label_spacing_file(path: Path) -> Path:
    """The spacing file of a label or a prediction, CASE.tif."""
    return path.with_suffix(".json")


def _geometry(array: np.ndarray, spacing_mm: tuple[float, float, float]) -> Geometry:
    return Geometry(reader=NAME, shape=(array.shape[1], array.shape[2], array.shape[3]), spacing_mm=spacing_mm)


def _read(path: Path) -> np.ndarray:
    """Array (1, Z, Y, X) in the file's own type."""
    require_one_series(path)
    array = read_tiff(path)
    if array.ndim != 3:
        raise UserError("A 3D TIFF must have three axes (slices, rows, columns).", where=path,
                        found=f"shape {array.shape}",
                        mend="Save one file for each channel; pages in colour are read by TiffSequenceIO.")
    return array[None]


def _spacing_mm(path: Path, image: Path) -> tuple[float, float, float]:
    if not path.is_file():
        say(f"Warning: {image} has no spacing file {path.name}; 1 mm is assumed.")
        return 1.0, 1.0, 1.0
    return decode(
        SpacingFile, read_json(path), where=path, mend="Correct the file, and check that it is in mm.",
        rule=f'A TIFF\'s spacing file must hold {{"spacing": [z, y, x]}}, three values from {MIN_SPACING_MM:g} to '
             f'{MAX_SPACING_MM:g} mm.',
    ).spacing
