"""The image of a session: voxels from files or an array, and the grid on which masks are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from samunet.dataset.geometry import SLICE_SPACING_2D, Geometry
from samunet.dataset.grid_checks import check_spacing
from samunet.dataset.grids import affine_mm
from samunet.dataset.io.readers import ending_of, reader_named, reader_of_file
from samunet.dataset.voxel_checks import as_image
from samunet.errors import UserError
from samunet.files import digest_of_array, digest_of_json

ARRAY = Path("array")  # what messages call an image that is in no file


@dataclass(frozen=True)
class SessionImage:
    """An image and its grid.

    Arguments:
        voxels: float32 (C, Z, Y, X), as the reader gives them.
        geometry: of the voxels.
        paths: the files, one for each channel or one for all; none for an array.
    """

    voxels: np.ndarray
    geometry: Geometry
    paths: tuple[Path, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.geometry.shape

    @property
    def place(self) -> Path:
        """What messages call it."""
        return self.paths[0] if self.paths else ARRAY

    @property
    def name(self) -> str:
        """The first file's name without ending."""
        return self.place.name.removesuffix(self.ending) if self.paths else "image"

    @property
    def ending(self) -> str:
        """The ending of the files, `/` for folders of frames; `.nii.gz` for an array."""
        return ending_of(self.paths[0]) if self.paths else ".nii.gz"

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of voxels, spacing and place in space; the same for the same image in another file."""
        return digest_of_json([digest_of_array(self.voxels), np.round(affine_mm(self.geometry), 6).tolist()])


def read_image(paths: Sequence[Path], reader: str | None = None) -> SessionImage:
    """The image of one case from its files.

    Arguments:
        paths: one for each channel, in order, or one that holds all.
        reader: a reader-writer's name; None chooses it by the first file's ending.

    Raises:
        UserError: see `ReaderWriter.read_images`; an ending that no reader reads.
    """
    if not paths:
        raise UserError("An image must have at least one file.", found="no path", mend="Name a file for each channel.")
    voxels, geometry = reader_named(reader or reader_of_file(paths[0])).read_images(paths)
    return SessionImage(voxels, geometry, tuple(path.absolute() for path in paths))


def image_of_array(array: np.ndarray, spacing_mm: Sequence[float] | None) -> SessionImage:
    """The image of an array of real numbers: (Z, Y, X), (C, Z, Y, X), or (Y, X), a 2D image of one slice.

    Arguments:
        spacing_mm: (z, y, x) in mm, or (y, x) for a 2D image.

    Raises:
        UserError: another number of axes, no voxels, a type without order, NaN or infinity; a spacing that is missing,
            of another length, or out of bounds.
    """
    array = np.asarray(array)
    if array.ndim not in (2, 3, 4) or array.size == 0:
        raise UserError("An image array must have axes (y, x), (z, y, x) or (c, z, y, x), and voxels.",
                        found=f"shape {array.shape}")
    axes = min(array.ndim, 3)
    spacing = _spacing(spacing_mm, axes)
    channels = array[None, None] if axes == 2 else array.reshape(-1, *array.shape[-3:])
    voxels = as_image([channels], [ARRAY], [spacing])
    geometry = Geometry("SimpleITKIO", (voxels.shape[1], voxels.shape[2], voxels.shape[3]), (1.0, 1.0, 1.0),
                        (0.0,) * axes, tuple(np.eye(axes).ravel().tolist()))
    z_mm = spacing[0] if axes == 3 else max(spacing) * SLICE_SPACING_2D
    return SessionImage(voxels, replace(geometry, spacing_mm=(z_mm, spacing[-2], spacing[-1])))


def _spacing(spacing_mm: Sequence[float] | None, axes: int) -> tuple[float, ...]:
    try:
        spacing = tuple(float(value) for value in (() if spacing_mm is None else spacing_mm))
    except (TypeError, ValueError):
        spacing = ()
    if len(spacing) != axes:
        raise UserError(f"An image array needs its spacing in mm, {axes} numbers ({'z, y, x'[-3 * axes + 2:]}).",
                        where="spacing_mm", found=repr(spacing_mm)[:100])
    check_spacing(spacing[::-1], ARRAY)
    return spacing
