"""`NpzIO`: volumes in NumPy's .npz, with the arrays `voxels` (Z, Y, X) and `spacing_mm` (z, y, x)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from samunet.dataset.geometry import Geometry
from samunet.dataset.voxel_checks import as_image, as_segmentation, for_writing
from samunet.errors import UserError
from samunet.files import whole_file


class NpzIO:
    """See `samunet.dataset.io.readers.ReaderWriter`."""

    name = "NpzIO"

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        """float32 (C, Z, Y, X) of one file for each channel, and the grid of the first."""
        arrays, geometries = zip(*map(_read, paths), strict=True)
        return as_image(arrays, paths, [each.spacing_mm for each in geometries]), geometries[0]

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        """int16 (1, Z, Y, X) and its grid."""
        array, geometry = _read(path)
        return as_segmentation(array, path), geometry

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        """Write integer (Z, Y, X), whole or not at all."""
        with whole_file(path) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(stream, voxels=for_writing(segmentation), spacing_mm=geometry.spacing_mm)


def _read(path: Path) -> tuple[np.ndarray, Geometry]:
    """Array (1, Z, Y, X) in the file's own type, and its grid."""
    try:
        with np.load(path, allow_pickle=False) as content:
            voxels, (z, y, x) = content["voxels"], content["spacing_mm"].tolist()
        slices, rows, columns = voxels.shape
    except (OSError, KeyError, ValueError, EOFError) as fault:
        raise UserError("A volume in .npz must hold `voxels` (Z, Y, X) and `spacing_mm` (z, y, x).", where=path,
                        found=f"{type(fault).__name__}: {fault}", mend="Write the file again.") from fault
    return voxels[None], Geometry(reader=NpzIO.name, shape=(slices, rows, columns), spacing_mm=(z, y, x))
