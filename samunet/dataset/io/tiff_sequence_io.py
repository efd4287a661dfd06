"""TiffSequenceIO: a multi-page TIFF whose pages are time points, grey or in colour; time is the slice axis."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from samunet.dataset.geometry import Geometry
from samunet.dataset.io.frame_folder_io import SEQUENCE_SPACING_MM, sequence_geometry
from samunet.dataset.io.tiff_file import check_page
from samunet.dataset.voxel_checks import as_image, as_segmentation, cannot_read, for_writing, require_file
from samunet.errors import UserError
from samunet.files import whole_file

NAME = "TiffSequenceIO"
COLOUR_AXES = "SC"  # tifffile's letters for samples of a pixel, and for channels in ImageJ's files


class TiffSequenceIO:
    """See `samunet.dataset.io.readers.ReaderWriter`. Grey pages give one channel, RGB three; Z is time.

    Tiff3DIO reads volumes, each with a spacing file; a sequence needs none. So dataset.json must say which of the two
    its TIFFs are, with `overwrite_image_reader_writer`.
    """

    name = NAME

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        """float32 (C, T, Y, X) of one file, or of one file for each channel."""
        image = as_image([_read(Path(path)) for path in paths], paths, [SEQUENCE_SPACING_MM] * len(paths))
        return image, sequence_geometry(NAME, image, ())

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        """int16 (1, T, Y, X)."""
        segmentation = as_segmentation(_read(Path(path)), path)
        return segmentation, sequence_geometry(NAME, segmentation, ())

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        """Write integer (T, Y, X) as one page for each time point."""
        with whole_file(Path(path)) as temporary:
            # Marked as grey: three label pages would otherwise be read as the planes of one colour image.
            tifffile.imwrite(temporary, for_writing(segmentation), photometric="minisblack", compression="zlib")


def _read(path: Path) -> np.ndarray:
    """Array (C, T, Y, X) in the file's own type."""
    require_file(path)
    try:
        with tifffile.TiffFile(path) as file:
            shapes = [series.shape for series in file.series]
            check_page(file.series[0].keyframe, path)
            array, axes = file.series[0].asarray(), file.series[0].axes
    except UserError:
        raise
    except Exception as fault:  # decoders raise all kinds of exceptions on damaged files
        raise cannot_read(path, fault) from fault
    if len(shapes) > 1:
        raise UserError("All pages of a sequence must have one size, and all be grey or all in colour.", where=path,
                        found=f"pages of shapes {', '.join(map(str, shapes))}",
                        mend="Scale or convert the pages that differ, or make them cases of their own.")
    colours = next((axes.index(letter) for letter in COLOUR_AXES if letter in axes), None)
    if colours is None and array.ndim == 4 and array.shape[-1] in (3, 4):
        colours = 3  # saved as an array, without metadata about colours
    array = array[None] if colours is None else np.moveaxis(array, colours, 0)
    if array.ndim == 3:  # one page
        array = array[:, None]
    if array.ndim != 4:
        raise UserError("The pages of a sequence must be images, grey or in colour.", where=path,
                        found=f"axes {axes} of shape {tuple(shapes[0])}", mend="Save one page for each time point.")
    return array
