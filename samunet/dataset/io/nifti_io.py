"""NIfTI files read and written as their headers say, without the repairs of ITK's reader."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np

from samunet.dataset.geometry import Geometry
from samunet.dataset.io.nifti_grid import forms_for, forms_of, place, put_forms
from samunet.dataset.io.nifti_header import HEADERS, MOST_HEADER_BYTES, layout_of, parse_header
from samunet.dataset.io.nifti_voxels import read_voxels, unpacked
from samunet.dataset.voxel_checks import cannot_read, for_writing
from samunet.files import whole_file

ENDINGS = (".nii", ".nii.gz")
COMPRESSION = 6  # zlib's usual level, at which ITK writes too
EXTENDER = bytes(4)  # between header and voxels: no extension follows


def read_nifti(path: Path, reader: str) -> tuple[np.ndarray, Geometry]:
    """Array (C, Z, Y, X) in the file's own type (scaled where it has a slope), and its grid.

    Raises:
        UserError: a file that is damaged, voxels that are not real numbers, or an impossible grid.
    """
    try:
        packed = path.read_bytes()
    except OSError as fault:
        raise cannot_read(path, fault) from fault
    header, version = parse_header(unpacked(packed, MOST_HEADER_BYTES, path), path)
    layout = layout_of(header, path)
    geometry = place(forms_of(header, version, layout.axes), layout.shape[1:], layout.axes, reader, path)
    return read_voxels(packed, layout, path), geometry


def write_nifti(segmentation: np.ndarray, path: Path, geometry: Geometry) -> None:
    """Write integer (Z, Y, X) under the forms, codes and unit of the image that `geometry` was read from, unscaled."""
    array, forms = for_writing(segmentation), forms_for(geometry)
    header = HEADERS[forms.version]()
    header.set_data_dtype(array.dtype)
    header.set_data_shape(array.shape[:0:-1] if len(geometry.origin) == 2 else array.shape[::-1])
    put_forms(header, forms)
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["vox_offset"] = len(header.binaryblock) + len(EXTENDER)
    if forms.version == 1:
        header["regular"] = b"r"
    content = b"".join((header.binaryblock, EXTENDER, array.astype(array.dtype.newbyteorder("<"), copy=False).data))
    with whole_file(path) as temporary:
        temporary.write_bytes(gzip.compress(content, COMPRESSION, mtime=0) if path.name.lower().endswith(".gz")
                              else content)
