"""The properties of a file that nnU-Net's reader-writers need to write a segmentation for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import affine_mm


def ras_affine_mm(geometry: Geometry) -> np.ndarray:
    """Float64 (4, 4) from voxel indices (x, y, z, 1) to mm (right, anterior, superior as in NIfTI)."""
    affine: np.ndarray = np.diag((-1.0, -1.0, 1.0, 1.0)) @ affine_mm(geometry)[:, [2, 1, 0, 3]]
    return affine


def reader_properties(geometry: Geometry) -> dict[str, Any]:
    """The properties of nnU-Net's reader-writer of the same name, of built-in types only."""
    properties: dict[str, Any] = {"spacing": list(geometry.spacing_mm)}
    if not geometry.origin:
        return properties
    file = geometry.file or geometry
    properties["sitk_stuff"] = {
        "spacing": geometry.spacing_mm[::-1][: len(geometry.origin)],
        "origin": geometry.origin,
        "direction": geometry.direction,
    }
    if geometry.file is not None:
        from nibabel.orientations import aff2axcodes

        properties["sitk_stuff"]["original_orientation"] = "".join(aff2axcodes(ras_affine_mm(file)))
    if file.nifti is not None:
        properties["nibabel_stuff"] = {
            "original_affine": ras_affine_mm(file).tolist(),
            "reoriented_affine": ras_affine_mm(geometry).tolist(),
        }
    return properties
