"""The header of a NIfTI file: which voxels follow, of which type and shape."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from samunet.console import say_once
from samunet.dataset.voxel_checks import cannot_read
from samunet.errors import UserError

HEADER_BYTES = {348: 1, 540: 2}  # sizeof_hdr, and the NIfTI version that it belongs to
MOST_HEADER_BYTES = 540
HEADERS: dict[int, Any] = {1: Nifti1Header, 2: Nifti2Header}
MAGIC = {1: b"n+1", 2: b"n+2"}
COLOURS = {128: 3, 2304: 4}  # datatype codes of RGB and RGBA, and their number of channels
VECTOR_INTENTS = (1006, 1007)  # displacement vectors, vectors: of 2D images the components are the fifth axis too


@dataclass(frozen=True)
class NiftiLayout:
    """How the voxels are stored.

    Attributes:
        shape: (channels, Z, Y, X); Z is 1 for a 2D file.
        axes: spatial axes of the file, 2 or 3.
        dtype: of one number, with the file's byte order.
        interleaved: whether the channels of a voxel are adjacent (colours), not one volume after another.
        offset: bytes before the first voxel.
    """

    shape: tuple[int, int, int, int]
    axes: int
    dtype: np.dtype
    interleaved: bool
    offset: int
    slope: float
    intercept: float

    @property
    def end(self) -> int:
        """Bytes up to the last voxel's end."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize


def parse_header(content: bytes, path: Path) -> tuple[Any, int]:
    """nibabel's header, unrepaired, and the NIfTI version, from a file's first bytes.

    Raises:
        UserError: the content is no header of a NIfTI file that also holds its voxels.
    """
    for order in ("little", "big"):
        version = HEADER_BYTES.get(size := int.from_bytes(content[:4], order))
        if version and len(content) >= size:
            # nibabel would guess the order from dim[0], which may be wrong.
            header = HEADERS[version](content[:size], endianness=order, check=False)
            break
    else:
        raise cannot_read(path, ValueError(f"no NIfTI header in its {len(content)} first bytes"))
    magic = bytes(header["magic"])[:3]
    if magic != MAGIC[version]:
        raise UserError("A NIfTI file must hold header and voxels together.", where=path,
                        found=f"the mark {magic!r} instead of {MAGIC[version]!r}",
                        mend="Convert the pair of .hdr and .img (NIfTI or Analyze) to .nii.gz.")
    return header, version


def layout_of(header: Any, path: Path) -> NiftiLayout:
    """Check the fields that describe the voxels.

    Raises:
        UserError: impossible sizes, more axes than space and channels, a type that is no real number, a slope or an
            intercept that is not finite.
    """
    shape, axes = _shape(header, path)
    dtype, colours = _type(header, path)
    if colours > 1 and shape[0] > 1:
        raise UserError("A 4D file must hold one value for each voxel.", where=path, found=f"{colours} values",
                        mend="Split it into channels.")
    slope, intercept = (1.0, 0.0) if colours > 1 else _scaling(header, path)
    offset = float(header["vox_offset"])
    if not offset >= int(header["sizeof_hdr"]) or not offset.is_integer():
        raise cannot_read(path, ValueError(f"voxels start at byte {offset}"))
    return NiftiLayout((max(shape[0], colours), *shape[1:]), axes, dtype, colours > 1, int(offset), slope, intercept)


def _shape(header: Any, path: Path) -> tuple[tuple[int, int, int, int], int]:
    """(channels, Z, Y, X), and the number of spatial axes."""
    count = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : count + 1]]
    if not 1 <= count <= 7 or min(sizes) < 1:
        raise cannot_read(path, ValueError(f"sizes {header['dim'].tolist()} in its header"))
    vectors = count > 3 and int(header["intent_code"]) in VECTOR_INTENTS
    channels = sizes[4] if count > 4 and sizes[3] == 1 else 1  # the fifth axis: values of one voxel
    space = sizes[:3] if channels > 1 else sizes
    while len(space) > (2 if vectors else 3) and space[-1] == 1:
        space.pop()
    if not 2 <= len(space) <= 4 or math.prod(sizes[5:]) > 1:
        raise UserError("An image file must have 2 to 4 dimensions.", where=path, found=f"sizes {tuple(sizes)}",
                        mend="Split it into files of 3 dimensions.")
    if len(space) == 4:
        channels = space[3]
    axes = min(len(space), 3)
    depth = space[2] if axes == 3 else 1
    return (channels, depth, space[1], space[0]), axes


def _type(header: Any, path: Path) -> tuple[np.dtype, int]:
    """Type of one number, and the number of colours; 1 without colours."""
    code = int(header["datatype"])
    if code in COLOURS:
        return np.dtype(np.uint8), COLOURS[code]
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):
        dtype = None
    if dtype is None or dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UserError("Voxels must be real numbers of at most 64 bits, or RGB or RGBA colours.", where=path,
                        found=f"NIfTI datatype {code} ({dtype if dtype is not None else 'unknown'})",
                        mend="Convert the file, for example to float32; of complex numbers save the magnitude.")
    return dtype, 1


def _scaling(header: Any, path: Path) -> tuple[float, float]:
    """Slope and intercept; a slope of 0 means stored values, by the standard."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0:
        return 1.0, 0.0
    if math.isnan(slope):
        say_once(f"Warning: the slope of {path} is NaN. Its voxels are read unscaled, as nibabel and ITK do.")
        return 1.0, 0.0
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise UserError("Slope and intercept of a NIfTI file must be finite.", where=path,
                        found=f"scl_slope {slope}, scl_inter {intercept}",
                        mend="Write scl_slope 1 and scl_inter 0 into the header if the stored values are correct.")
    return slope, intercept
