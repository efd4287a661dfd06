"""A NIfTI file of several channels as one file for each: stored bytes are copied, so that no value changes."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

from samunet.dataset.io.nifti_header import MOST_HEADER_BYTES, layout_of, parse_header
from samunet.dataset.io.nifti_io import COMPRESSION, EXTENDER
from samunet.dataset.io.nifti_voxels import unpacked
from samunet.dataset.voxel_checks import cannot_read
from samunet.errors import UserError
from samunet.files import copy_whole, whole_file


def split_channels(path: Path, folder: Path, name: str, channels: int) -> None:
    """Write `<folder>/<name>_0000.nii.gz`, ... for the channels of a file; one of 3 dimensions is copied as it is.

    Header fields (grid, type, slope) stay, but for the number of dimensions; header extensions are left out.

    Raises:
        UserError: a file that is damaged, or has another number of channels than `channels`.
    """
    try:
        packed = path.read_bytes()
    except OSError as fault:
        raise cannot_read(path, fault) from fault
    header, _ = parse_header(unpacked(packed, MOST_HEADER_BYTES, path), path)
    layout = layout_of(header, path)
    if layout.shape[0] != channels or layout.interleaved:
        raise UserError("An image must have the channels that `modality` in dataset.json names.", where=path,
                        found=f"{layout.shape[0]} channels{', as colours' if layout.interleaved else ''}",
                        mend=f"Give {channels}.")
    content = unpacked(packed, layout.end, path, whole=True)
    if len(content) < layout.end:
        raise cannot_read(path, ValueError(f"{len(content)} bytes (unpacked) of {layout.end}"))
    if int(header["dim"][0]) <= 3:
        copy_whole(path, folder / f"{name}_0000.nii.gz")
        return
    size = math.prod(layout.shape[1:]) * layout.dtype.itemsize
    front = _header_of_channel(header)
    for channel in range(channels):
        first = layout.offset + channel * size
        with whole_file(folder / f"{name}_{channel:04d}.nii.gz") as temporary:
            temporary.write_bytes(gzip.compress(front + content[first : first + size], COMPRESSION, mtime=0))


def _header_of_channel(header: Any) -> bytes:
    """The header of one channel, and the mark that no extension follows."""
    own = header.copy()
    own["dim"][0], own["dim"][4:], own["pixdim"][4:] = 3, 1, 1
    own["vox_offset"] = len(own.binaryblock) + len(EXTENDER)
    return bytes(own.binaryblock) + EXTENDER
