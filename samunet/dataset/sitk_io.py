"""SimpleITKIO: NIfTI, NRRD, MetaImage and GIPL files through SimpleITK."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from samunet.dataset.alignment import on_first_grid
from samunet.dataset.geometry import SLICE_SPACING_2D, Geometry
from samunet.dataset.nifti_voxels import restore_not_finite
from samunet.dataset.voxel_checks import as_image, as_segmentation, cannot_read, for_writing, require_file
from samunet.errors import UserError
from samunet.files import whole_file

NAME = "SimpleITKIO"
GIPL_HEADER_BYTES = 256


class SimpleItkIO:
    """See `samunet.dataset.readers.ReaderWriter`. A 4D file, or one with several values a voxel, gives several channels."""

    name = NAME

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        arrays, geometries = zip(*(_read(Path(path)) for path in paths), strict=True)
        placed, problems = on_first_grid(arrays, geometries, paths)
        return as_image(placed, paths, [geometries[0].spacing_mm] * len(paths), problems), geometries[0]

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        array, geometry = _read(Path(path))
        return as_segmentation(array, path), geometry

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        dimensions = len(geometry.origin)
        array = for_writing(segmentation)
        image = sitk.GetImageFromArray(array[0] if dimensions == 2 else array)
        image.SetSpacing(geometry.spacing_mm[::-1][:dimensions])
        image.SetOrigin(geometry.origin)
        image.SetDirection(geometry.direction)
        write_image(image, Path(path))


def write_image(image: sitk.Image, path: Path) -> None:
    """Write a compressed file, whole or not at all: ITK writes a part of it to a full disk and reports nothing, so it is read again.

    Raises:
        UserError: the file cannot be written.
    """
    def require_whole(written: Path) -> None:
        shape = _read(written)[1].shape
        if shape[::-1][: image.GetDimension()] != image.GetSize():
            raise ValueError(f"shape {shape}")

    with whole_file(path, check=require_whole) as temporary:
        temporary.touch()  # a place that cannot be written fails here, with an error that says so
        sitk.WriteImage(image, str(temporary), True)


def _read(path: Path) -> tuple[np.ndarray, Geometry]:
    """Array (C, Z, Y, X) in the file's own type, and its geometry."""
    require_file(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as fault:
        raise cannot_read(path, fault) from fault
    _require_whole(path, image)
    array = sitk.GetArrayFromImage(image)
    restore_not_finite(array, path, image)
    dimensions = image.GetDimension()
    if not 2 <= dimensions <= 4:
        raise UserError("An image file must have 2 to 4 dimensions.", where=path, found=f"{dimensions} dimensions",
                        mend="Split it into files of 3 dimensions.")
    if image.GetNumberOfComponentsPerPixel() > 1:
        if dimensions == 4:
            raise UserError("A 4D file must hold one value for each voxel.", where=path,
                            found=f"{image.GetNumberOfComponentsPerPixel()} values", mend="Split it into channels.")
        array = np.moveaxis(array, -1, 0)
    elif dimensions < 4:
        array = array[None]
    spacing_mm = tuple(abs(value) for value in image.GetSpacing()[:3][::-1])
    if dimensions == 2:
        array = array[:, None]
        spacing_mm = (max(spacing_mm) * SLICE_SPACING_2D, *spacing_mm)
    space = min(dimensions, 3)
    direction = np.array(image.GetDirection()).reshape(dimensions, dimensions)[:space, :space]
    geometry = Geometry(
        reader=NAME,
        shape=tuple(array.shape[1:]),
        spacing_mm=spacing_mm,
        origin=image.GetOrigin()[:space],
        direction=tuple(direction.ravel().tolist()),
    )
    return array, geometry


def _require_whole(path: Path, image: sitk.Image) -> None:
    """Raise a UserError where a NIfTI or GIPL file is shorter than its header says: ITK fills the rest with zeros.

    The other formats' readers fail by themselves. A gzip stream is only read through where the length in its last four
    bytes is not the one expected, as after a truncation, but also where something follows the voxels.
    """
    if image.HasMetaDataKey("vox_offset"):
        sizes = [int(image.GetMetaData(f"dim[{axis}]")) for axis in range(1, int(image.GetMetaData("dim[0]")) + 1)]
        voxel_bytes = math.prod(sizes) * int(image.GetMetaData("bitpix")) // 8
        expected = int(float(image.GetMetaData("vox_offset"))) + voxel_bytes
    elif path.name.lower().endswith(".gipl"):
        expected = GIPL_HEADER_BYTES + image.GetNumberOfPixels() * image.GetSizeOfPixelComponent()
    else:
        return
    found = path.stat().st_size
    with open(path, "rb") as stream:
        if stream.read(2) == b"\x1f\x8b":
            stream.seek(-4, 2)
            found = expected if int.from_bytes(stream.read(), "little") == expected % 2**32 else _unpacked_bytes(path)
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
