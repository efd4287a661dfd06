"""What a TIFF file holds: its images or volumes, and how viewers turn them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from samunet.dataset.voxel_checks import cannot_read, require_file
from samunet.errors import UserError

TIFF_ENDINGS = (".tif", ".tiff")
MASK = 4  # TIFF 6.0, NewSubfileType: bit 2, a transparency mask
ORIENTATION = 274  # TIFF 6.0: where the first row and the first column of the stored image are shown; 1 is upright
# Numbers that are grey values, indices or red, green and blue. YCbCr is decoded to RGB.
PHOTOMETRIC = ("MINISWHITE", "MINISBLACK", "RGB", "PALETTE", "MASK", "YCBCR")


def holds_volume(path: Path) -> bool:
    """Whether a .tif holds slices (Tiff3DIO) and not one image, grey or with 3 or 4 colours first or last."""
    shape, _ = _series(path)[0]
    return len(shape) == 3 and shape[0] not in (3, 4) and shape[-1] not in (3, 4)


def require_one_series(path: Path) -> None:
    """Refuse a TIFF whose pages were written one by one as separate images, because only the first would be read.

    Further images of another size or type (thumbnails, levels of a pyramid, masks) are no pages.

    Raises:
        UserError: several series of one shape and type, or a file that cannot be read.
    """
    shapes, types = zip(*_series(path), strict=True)
    if len(shapes) > 1 and len({*shapes}) == len({*types}) == 1:
        raise UserError("A TIFF must hold one image, or one volume that was written as one array.", where=path,
                        found=f"{len(shapes)} of shape {shapes[0]}",
                        mend="Write a volume's slices in one call, as in tifffile.imwrite(path, volume), and other "
                             "pages as separate files.")


def read_tiff(path: Path, upright: bool = False) -> np.ndarray:
    """The first series' array, with the axes and the type of the file; values as stored, without a colour map.

    Arguments:
        upright: turn an image (rows, columns[, colours]) as its orientation says.

    Raises:
        UserError: a file that cannot be read, colours that are not RGB, or an orientation that is not applied and not
            upright.
    """
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            check_page(series.keyframe, path, upright)
            array = series.asarray()
            orientation = _orientation(series.keyframe)
    except UserError:
        raise
    except Exception as fault:  # decoders raise all kinds of exceptions on damaged files
        raise cannot_read(path, fault) from fault
    return turned_upright(array, orientation) if upright else array


def check_page(page: tifffile.TiffPage, path: Path, turns: bool = False) -> None:
    """Refuse colours that are not RGB, and without `turns` pages that viewers show turned."""
    photometric = getattr(page.photometric, "name", str(page.photometric))
    if photometric not in PHOTOMETRIC:
        raise UserError("A TIFF must be grey or RGB.", where=path, found=f"photometric interpretation {photometric}",
                        mend="Convert it to grey or RGB.")
    if not turns and _orientation(page) != 1:
        raise UserError("The pages of a TIFF must be stored upright.", where=path,
                        found=f"orientation {_orientation(page)}",
                        mend="Turn the pages, and write them with orientation 1.")


def turned_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """An image (rows, columns[, colours]) turned by TIFF's (and EXIF's) `orientation`, 1 to 8, as viewers show it."""
    if orientation in (5, 6, 7, 8):
        image = image.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return image[::rows, ::columns]


def _orientation(page: tifffile.TiffPage) -> int:
    """1 to 8; other values count as 1, as in viewers."""
    tag = page.tags.get(ORIENTATION)
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else 1


def _series(path: Path) -> list[tuple[tuple[int, ...], np.dtype]]:
    """Shape and type of each image or volume in a TIFF; masks are left out unless they come first."""
    require_file(path)
    try:
        with tifffile.TiffFile(path) as file:
            first, *others = file.series
            images = (first, *(each for each in others if not each.keyframe.subfiletype & MASK))
            return [(series.shape, series.dtype) for series in images]
    except Exception as fault:  # decoders raise all kinds of exceptions on damaged files
        raise cannot_read(path, fault) from fault
