"""NIfTI files with exactly the header fields that a test wants."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header

IDENTITY = np.eye(4)


def affine(spacing=(1.0, 1.0, 2.0), origin=(-10.0, -12.0, 5.0)) -> np.ndarray:
    """RAS matrix of a grid along the axes."""
    matrix = np.diag((*spacing, 1.0))
    matrix[:3, 3] = origin
    return matrix


def write_nifti(
    path: Path, voxels: np.ndarray, sform=None, qform=None, s_code=1, q_code=1, version=1, order="<", **fields: Any
) -> Path:
    """Write `voxels` (x, y, z[, ...]) under matrices in RAS (None: code 0) and any other header `fields` by name.

    `pixdim` is of the qform or the sform unless it is given, from the first spatial axis on.
    """
    header = (Nifti2Header if version == 2 else Nifti1Header)(endianness=order)
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    if qform is not None:
        header.set_qform(qform, q_code)
    if sform is not None:
        header.set_sform(sform, s_code)
        if qform is None:
            header["pixdim"][1:4] = np.linalg.norm(sform[:3, :3], axis=0)
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["vox_offset"] = len(header.binaryblock) + 4
    spacing = fields.pop("pixdim", ())
    header["pixdim"][1 : 1 + len(spacing)] = spacing
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + bytes(4) + voxels.astype(voxels.dtype.newbyteorder(order)).tobytes(order="F")
    path.write_bytes(gzip.compress(content, 1) if path.name.endswith(".gz") else content)
    return path


def header_of(path: Path) -> Nifti1Header | Nifti2Header:
    """The header as it is stored, unrepaired."""
    content = path.read_bytes()
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    kind, size = (Nifti2Header, 540) if content[:4] == (540).to_bytes(4, "little") else (Nifti1Header, 348)
    return kind(content[:size], check=False)


def stored_voxels(path: Path) -> np.ndarray:
    """Voxels (x, y, z) of a file that was written whole, as they are stored."""
    content, header = path.read_bytes(), header_of(path)
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    dtype = header.get_data_dtype()
    return np.frombuffer(content, dtype, offset=int(header["vox_offset"])).reshape(header.get_data_shape(), order="F")
