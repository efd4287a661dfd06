"""NaturalImage2DIO: PNG, BMP and 2D TIFF images, grey or in colour, as cases of one slice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from skimage import io

from samunet.dataset.geometry import SLICE_SPACING_2D, Geometry
from samunet.dataset.tiff3d_io import TIFF_ENDINGS, require_one_series
from samunet.dataset.voxel_checks import as_image, as_segmentation, cannot_read, for_writing, require_file
from samunet.errors import UserError
from samunet.files import whole_file

NAME = "NaturalImage2DIO"
# nnU-Net's convention: pixels of 1 mm.
SPACING_MM = (float(SLICE_SPACING_2D), 1.0, 1.0)


class NaturalImageIO:
    """See `samunet.dataset.readers.ReaderWriter`. Grey gives one channel, RGB three, RGBA four; Z is 1."""

    name = NAME

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        arrays = [read_picture(Path(path)) for path in paths]
        image = as_image(arrays, paths, [SPACING_MM] * len(arrays))
        return image, _geometry(image)

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        segmentation = as_segmentation(read_picture(Path(path)), path)
        return segmentation, _geometry(segmentation)

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        with whole_file(Path(path)) as temporary:
            write_picture(for_writing(segmentation)[0], temporary)


def _geometry(array: np.ndarray) -> Geometry:
    return Geometry(reader=NAME, shape=(1, array.shape[2], array.shape[3]), spacing_mm=SPACING_MM)


def write_picture(picture: np.ndarray, path: Path) -> None:
    """Write (rows, columns) in the format of the path's ending, encoded in memory: imageio answers a full disk with a traceback."""
    if path.suffix.lower() in TIFF_ENDINGS:
        io.imsave(str(path), picture, check_contrast=False)
    else:
        path.write_bytes(imageio.imwrite("<bytes>", picture, extension=path.suffix))


def read_picture(path: Path) -> np.ndarray:
    """Array (C, 1, Y, X) in the file's own type.

    Raises:
        UserError: a file that is missing, cannot be read, is neither grey nor in colour, or holds several pictures.
    """
    require_file(path)
    if path.suffix.lower() in TIFF_ENDINGS:
        require_one_series(path)
    try:
        array = io.imread(str(path))
    except Exception as fault:  # decoders raise all kinds of exceptions on damaged files
        raise cannot_read(path, fault) from fault
    if array.ndim == 2:
        return array[None, None]
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        return np.moveaxis(array, -1, 0)[:, None]
    raise UserError("A natural image must be grey (rows, columns) or in colour (rows, columns, 3 or 4).", where=path,
                    found=f"shape {array.shape}",
                    mend="Save it as grey or RGB; 3D TIFFs are read by Tiff3DIO, sequences by TiffSequenceIO.")
