"""TiffSequenceIO: a multi-page TIFF whose pages are moments, grey or in colour; time is the slice axis."""

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

    Tiff3DIO reads volumes, whose spacing stands in a file beside each; a sequence needs none, so dataset.json has to
    say which of the two its TIFFs are, by `overwrite_image_reader_writer`.
    """

    name = NAME

    def read_images(self, paths: Sequence[Path]) -> tuple[np.ndarray, Geometry]:
        image = as_image([_read(Path(path)) for path in paths], paths, [SEQUENCE_SPACING_MM] * len(paths))
        return image, sequence_geometry(NAME, image, ())

    def read_segmentation(self, path: Path) -> tuple[np.ndarray, Geometry]:
        segmentation = as_segmentation(_read(Path(path)), path)
        return segmentation, sequence_geometry(NAME, segmentation, ())

    def write_segmentation(self, segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
        with whole_file(Path(path)) as temporary:
            # Said to be grey: three label pages would else be taken for the planes of one colour picture.
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
                        mend="Scale or convert the pages that differ, or make cases of their own of them.")
    colours = next((axes.index(letter) for letter in COLOUR_AXES if letter in axes), None)
    if colours is None and array.ndim == 4 and array.shape[-1] in (3, 4):
        colours = 3  # saved as an array, without a word on colours
    array = array[None] if colours is None else np.moveaxis(array, colours, 0)
    if array.ndim == 3:  # one page
        array = array[:, None]
    if array.ndim != 4:
        raise UserError("The pages of a sequence must be pictures, grey or in colour.", where=path,
                        found=f"axes {axes} of shape {tuple(shapes[0])}", mend="Save one page for each moment.")
    return array
