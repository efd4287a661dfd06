"""SimpleITKIO: NIfTI, NRRD, MetaImage and GIPL files through SimpleITK."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from samunet.console import say
from samunet.dataset.geometry import Geometry
from samunet.dataset.voxel_checks import as_image, as_segmentation, cannot_read, for_writing, require_file
from samunet.errors import UserError
from samunet.files import whole_file

NAME = "SimpleITKIO"
# nnU-Net gives a 2D file a slice spacing so large that no rule takes the slice axis for a fine one.
SLICE_SPACING_2D = 999


class SimpleItkIO:
    """See `samunet.dataset.readers.ReaderWriter`. A 4D file, or one with several values a voxel, gives several channels."""

    name = NAME

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        arrays, geometries = zip(*(_read(Path(path)) for path in paths), strict=True)
        image = as_image(arrays, paths, [geometry.spacing_mm for geometry in geometries])
        first = geometries[0]
        for path, geometry in zip(paths, geometries, strict=True):
            if not geometry.same_place(first):
                say(f"Warning: origin or direction of {path} differs from that of {Path(paths[0]).name}; the first counts.")
        return image, first

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
        with whole_file(Path(path)) as temporary:
            temporary.touch()  # a place that cannot be written fails here, with an error that says so
            sitk.WriteImage(image, str(temporary), True)


def _read(path: Path) -> tuple[np.ndarray, Geometry]:
    """Array (C, Z, Y, X) in the file's own type, and its geometry."""
    require_file(path)
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as fault:
        raise cannot_read(path, fault) from fault
    array = sitk.GetArrayFromImage(image)
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
