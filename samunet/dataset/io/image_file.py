"""Decode 2D image files as viewers show them: upright, palettes as colours; labels as indices into their palette."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from samunet.dataset.io.tiff_file import TIFF_ENDINGS, read_tiff, require_one_series
from samunet.dataset.voxel_checks import cannot_read, require_file
from samunet.errors import UserError

# Pillow's modes whose numbers are grey values, indices or red, green, blue and alpha.
MODES = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L", "P", "RGB", "RGBA")
# Of a PNG's first chunk: bits of a sample, and the colour types with several samples a pixel.
PNG_DEPTH, PNG_COLOUR, PNG_SEVERAL = 24, 25, (2, 4, 6)


def read_image(path: Path, indices: bool = False) -> np.ndarray:
    """Array (C, 1, Y, X) in the file's own type.

    Arguments:
        indices: read an image with a palette as indices (labels), not as colours. A TIFF's colour map is for display
            only and never applied.

    Raises:
        UserError: a file that is missing, cannot be read, is neither grey nor in colour (RGB or RGBA), or holds several
            images.
    """
    require_file(path)
    if path.suffix.lower() in TIFF_ENDINGS:
        require_one_series(path)
        array = read_tiff(path, upright=True)
    else:
        try:
            array = _decoded(path, indices)
        except UserError:
            raise
        except Exception as fault:  # decoders raise all kinds of exceptions on damaged files
            raise cannot_read(path, fault) from fault
    if array.ndim == 2:
        return array[None, None]
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        return np.moveaxis(array, -1, 0)[:, None]
    raise UserError("A natural image must be grey (rows, columns) or in colour (rows, columns, 3 or 4).", where=path,
                    found=f"shape {array.shape}",
                    mend="Save it as grey or RGB; 3D TIFFs are read by Tiff3DIO, sequences by TiffSequenceIO.")


def _decoded(path: Path, indices: bool) -> np.ndarray:
    with Image.open(path) as image:
        # A telephone's JPEG may hold previews besides its image (MPO); they are no animation.
        if getattr(image, "is_animated", False) and image.format != "MPO":
            raise UserError("An image must not be animated.", where=path,
                            found=f"{getattr(image, 'n_frames', 0)} frames",
                            mend="Save each frame as a file of its own.")
        if image.mode not in MODES or _loses_bits(path, image):
            raise UserError("An image must be grey with at most 16 bits, or RGB or RGBA with 8 bits a colour.",
                            where=path,
                            found=f"mode {image.mode}" if image.mode not in MODES else "16 bits a colour",
                            mend="Convert it to grey or 8-bit RGB.")
        upright = ImageOps.exif_transpose(image)
        if upright.mode == "P" and not indices:
            assert upright.palette is not None
            upright = upright.convert(upright.palette.mode)
        return np.array(upright)


def _loses_bits(path: Path, image: Image.Image) -> bool:
    """Whether it is a PNG with 16 bits a colour, of which Pillow reads the upper 8."""
    if image.format != "PNG":
        return False
    with open(path, "rb") as stream:
        start = stream.read(PNG_COLOUR + 1)
    return start[PNG_DEPTH] == 16 and start[PNG_COLOUR] in PNG_SEVERAL
