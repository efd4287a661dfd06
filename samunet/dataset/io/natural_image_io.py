"""NaturalImage2DIO: PNG, BMP and 2D TIFF images, grey or in colour, as cases of one slice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from skimage import io

from samunet.dataset.geometry import SLICE_SPACING_2D, Geometry
from samunet.dataset.io.image_file import read_image
from samunet.dataset.io.tiff_file import TIFF_ENDINGS
from samunet.dataset.voxel_checks import as_image, as_segmentation, for_writing
from samunet.files import whole_file

NAME = "NaturalImage2DIO"
# nnU-Net's convention: pixels of 1 mm.
SPACING_MM = (float(SLICE_SPACING_2D), 1.0, 1.0)


class NaturalImageIO:
    """See `samunet.dataset.io.readers.ReaderWriter`. Grey gives one channel, RGB three, RGBA four; Z is 1."""

    name = NAME

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        """float32 (C, 1, Y, X) of one file, or of one file for each channel."""
        arrays = [read_image(Path(path)) for path in paths]
        image = as_image(arrays, paths, [SPACING_MM] * len(arrays))
        return image, _geometry(image)

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        """int16 (1, 1, Y, X); palettes are read as indices."""
        segmentation = as_segmentation(read_image(Path(path), indices=True), path)
        return segmentation, _geometry(segmentation)

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        """Write integer (1, Y, X) in the format of the path's ending, whole or not at all."""
        with whole_file(Path(path)) as temporary:
            write_plane(for_writing(segmentation)[0], temporary)


def _geometry(array: np.ndarray) -> Geometry:
    return Geometry(reader=NAME, shape=(1, array.shape[2], array.shape[3]), spacing_mm=SPACING_MM)


def write_plane(image: np.ndarray, path: Path) -> None:
    """Write (rows, columns) in the format of the path's ending.

    The file is encoded in memory, because imageio reports a full disk with a traceback.
    """
    if path.suffix.lower() in TIFF_ENDINGS:
        io.imsave(str(path), image, check_contrast=False)
    else:
        path.write_bytes(imageio.imwrite("<bytes>", image, extension=path.suffix))
