"""NibabelIOWithReorient and SimpleITKIOWithReorient: arrays in RAS, results on the file's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from nibabel.orientations import io_orientation

from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import Turn, affine_mm, turn_between, turned_affine
from samunet.dataset.io.sitk_io import SimpleItkIO
from samunet.dataset.nnunet_properties import ras_affine_mm
from samunet.errors import UserError


class OrientedIO:
    """See `samunet.dataset.io.readers.ReaderWriter`. X grows to the patient's right, Y to the front, Z to the head.

    Axes are permuted and flipped, never interpolated: oblique files keep their obliqueness.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._files = SimpleItkIO()

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        """float32 (C, Z, Y, X) in RAS, and its grid; `Geometry.file` is the grid of the first file."""
        return self._turned(*self._files.read_images(paths), paths[0])

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        """int16 (1, Z, Y, X) in RAS, and its grid."""
        return self._turned(*self._files.read_segmentation(path), path)

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        """Write integer (Z, Y, X), given in RAS, with the axes of the file that `geometry` was read from."""
        if geometry.file is None:
            self._files.write_segmentation(segmentation, path, geometry)
            return
        turn = turn_between(geometry, geometry.file)
        assert turn is not None  # the grid is a turned one
        self._files.write_segmentation(np.ascontiguousarray(turn.apply(segmentation)), path, geometry.file)

    def _turned(self, array: np.ndarray, file: Geometry, path: Path) -> tuple[np.ndarray, Geometry]:
        if len(file.origin) != 3:
            raise UserError(f"{self.name} reads volumes only.", where=path, found="a 2D file",
                            mend='Write "overwrite_image_reader_writer": "SimpleITKIO" into dataset.json.')
        turn = turn_to_ras(file)
        return np.ascontiguousarray(turn.apply(array)), turned_geometry(file, turn, self.name)


def turn_to_ras(geometry: Geometry) -> Turn:
    """The turn after which x, y and z grow as nearly as possible to the right, to the front and to the head."""
    axes, flipped = [0, 0, 0], [False, False, False]
    for source, (target, sign) in enumerate(io_orientation(ras_affine_mm(geometry))):
        axes[2 - int(target)], flipped[2 - int(target)] = 2 - source, bool(sign < 0)
    return Turn((axes[0], axes[1], axes[2]), (flipped[0], flipped[1], flipped[2]))


def turned_geometry(file: Geometry, turn: Turn, reader: str) -> Geometry:
    """The grid of an array of the grid `file` after `turn`."""
    first, second, third = turn.axes
    shape, spacing_mm = ((each[first], each[second], each[third]) for each in (file.shape, file.spacing_mm))
    affine = turned_affine(affine_mm(file), file.shape, turn)
    direction = affine[:3, 2::-1] / spacing_mm[::-1]
    return Geometry(reader, shape, spacing_mm, tuple(affine[:3, 3].tolist()),  # type: ignore[arg-type]
                    tuple(direction.ravel().tolist()), file=file)
