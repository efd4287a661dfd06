"""SimpleITKIO: NIfTI through nibabel; NRRD, MetaImage and GIPL through SimpleITK; DICOM series through pydicom."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from samunet.console import lines_held
from samunet.dataset.alignment import on_first_grid
from samunet.dataset.geometry import SLICE_SPACING_2D, Geometry
from samunet.dataset.grid_checks import check_grid
from samunet.dataset.io import nifti_io
from samunet.dataset.io.dicom_series import read_series
from samunet.dataset.io.sitk_header import check_text_header
from samunet.dataset.voxel_checks import as_image, as_segmentation, cannot_read, for_writing, require_file
from samunet.errors import UserError
from samunet.files import whole_file

NAME = "SimpleITKIO"
GIPL_HEADER_BYTES = 256
PAIR_ENDINGS = (".hdr", ".img", ".hdr.gz", ".img.gz")


class SimpleItkIO:
    """See `samunet.dataset.io.readers.ReaderWriter`.

    A 4D file, or one with several values a voxel, gives several channels. A folder is a DICOM series of one channel.
    """

    name = NAME

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        """float32 (C, Z, Y, X) of one file, or of one file for each channel, on the first file's grid."""
        arrays, geometries = zip(*(read_file(Path(path)) for path in paths), strict=True)
        placed, problems = on_first_grid(arrays, geometries, paths)
        return as_image(placed, paths, [geometries[0].spacing_mm] * len(paths), problems), geometries[0]

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        """int16 (1, Z, Y, X) and its grid."""
        array, geometry = read_file(Path(path))
        return as_segmentation(array, path), geometry

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        """Write integer (Z, Y, X) on the grid that `geometry` describes, whole or not at all."""
        write_file(segmentation, Path(path), geometry)


def read_file(path: Path) -> tuple[np.ndarray, Geometry]:
    """Array (C, Z, Y, X) in the file's own type, and its geometry; a folder is read as a DICOM series, float32."""
    if os.path.isdir(path):  # False, where `Path.is_dir` raises, for a name that is too long
        return read_series(path, NAME)
    require_file(path)
    if path.name.lower().endswith(PAIR_ENDINGS):
        raise UserError("Header and voxels must be in one file.", where=path, found="a file of a pair (.hdr and .img)",
                        mend="Convert the pair to .nii.gz.")
    return nifti_io.read_nifti(path, NAME) if path.name.lower().endswith(nifti_io.ENDINGS) else _read(path)


def write_file(segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
    """Write integer (Z, Y, X) on the grid of the file that `geometry` was read from."""
    if path.name.lower().endswith(nifti_io.ENDINGS):
        nifti_io.write_nifti(segmentation, path, geometry)
        return
    dimensions = len(geometry.origin)
    array = for_writing(segmentation)
    image = sitk.GetImageFromArray(array[0] if dimensions == 2 else array)
    image.SetSpacing(geometry.spacing_mm[::-1][:dimensions])
    image.SetOrigin(geometry.origin)
    image.SetDirection(geometry.direction)
    write_image(image, path)


def write_image(image: sitk.Image, path: Path) -> None:
    """Write a compressed file, whole or not at all.

    The file is read again, because ITK writes part of it to a full disk and reports nothing.

    Raises:
        UserError: the file cannot be written.
    """
    def require_whole(written: Path) -> None:
        with lines_held():  # its warnings were printed when the image was read
            shape = read_file(written)[1].shape
        if shape[::-1][: image.GetDimension()] != image.GetSize():
            raise ValueError(f"shape {shape}")

    with whole_file(path, check=require_whole) as temporary:
        temporary.touch()  # fails here, with a clear error, if the folder is not writable
        sitk.WriteImage(image, str(temporary), True)


def _read(path: Path) -> tuple[np.ndarray, Geometry]:
    check_text_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        dimensions = reader.GetDimension()
        if not 2 <= dimensions <= 4:
            raise UserError("An image file must have 2 to 4 dimensions.", where=path, found=f"{dimensions} dimensions",
                            mend="Split it into files of 3 dimensions.")
        # Before voxels are read: ITK reports a spacing of 0 as a damaged file.
        check_grid(_geometry(reader, (0, 0, 0)), path)
        image = reader.Execute()
    except RuntimeError as fault:
        raise cannot_read(path, fault) from fault
    if path.name.lower().endswith(".gipl"):
        _require_whole(path, image)
    array = sitk.GetArrayFromImage(image)
    if image.GetNumberOfComponentsPerPixel() > 1:
        if dimensions == 4:
            raise UserError("A 4D file must hold one value for each voxel.", where=path,
                            found=f"{image.GetNumberOfComponentsPerPixel()} values", mend="Split it into channels.")
        array = np.moveaxis(array, -1, 0)
    elif dimensions < 4:
        array = array[None]
    if dimensions == 2:
        array = array[:, None]
    return array, _geometry(image, (array.shape[1], array.shape[2], array.shape[3]))


def _geometry(image: Any, shape: tuple[int, int, int]) -> Geometry:
    """The grid of an sitk.Image, or of an sitk.ImageFileReader that has read a header."""
    dimensions = image.GetDimension()
    space = min(dimensions, 3)
    spacing_mm = tuple(abs(value) for value in image.GetSpacing()[:space][::-1])
    if dimensions == 2:
        spacing_mm = (max(spacing_mm) * SLICE_SPACING_2D, *spacing_mm)
    direction = np.array(image.GetDirection()).reshape(dimensions, dimensions)[:space, :space]
    return Geometry(NAME, shape, spacing_mm, image.GetOrigin()[:space], tuple(direction.ravel().tolist()))


def _require_whole(path: Path, image: sitk.Image) -> None:
    """Raise a UserError if a GIPL file is shorter than its header says: ITK fills the rest with zeros.

    The readers of other formats raise errors of their own.
    """
    expected = GIPL_HEADER_BYTES + image.GetNumberOfPixels() * image.GetSizeOfPixelComponent()
    found = path.stat().st_size
    with open(path, "rb") as stream:
        if stream.read(2) == b"\x1f\x8b":
            found = _unpacked_bytes(path)
    if found < expected:
        raise cannot_read(path, ValueError(f"{found} bytes (unpacked) of {expected}"))


def _unpacked_bytes(path: Path) -> int:
    """Length of what a gzip file holds."""
    length = 0
    try:
        with gzip.open(path) as stream:
            while block := stream.read(1 << 20):
                length += len(block)
    except (EOFError, OSError, zlib.error) as fault:
        raise cannot_read(path, fault) from fault
    return length
