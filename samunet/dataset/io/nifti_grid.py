"""Where a NIfTI header places its voxels: sform if its code is above 0, else qform, else the spacing alone.

nibabel follows the same rule; ITK does if both forms agree.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.quaternions import quat2mat

from samunet.console import say_once
from samunet.dataset.geometry import SLICE_SPACING_2D, Geometry
from samunet.dataset.grid_checks import check_grid, check_spacing
from samunet.dataset.grids import TOLERANCE_VOXELS, corner_distance_voxels
from samunet.dataset.io.nifti_forms import NiftiForms
from samunet.dataset.nnunet_properties import ras_affine_mm
from samunet.errors import UserError

QFORM_FIELDS = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
SFORM_FIELDS = ("srow_x", "srow_y", "srow_z")
TO_LPS = np.array([-1.0, -1.0, 1.0])  # NIfTI's axes point right, anterior, superior; ITK's left, posterior, superior
# The header that ITK writes: both forms in the coordinates of the scanner, millimetres and seconds.
SCANNER, MM_AND_SECONDS = 1, 10
# A sum of squared float32 values exceeds 1 by rounding; beyond this the quaternion is no rotation.
QUATERNION_EXCESS = 1e-4
IN_PLANE = 1e-3  # relative length of a 2D file's axes that may be outside the plane of x and y


def forms_of(header: Any, version: int, axes: int) -> NiftiForms:
    """The forms in a nibabel `header` of NIfTI `version`, whose file has `axes` (2 or 3) spatial axes.

    A form whose code is not above 0 is not valid and counts as absent.
    """
    spacing = [float(value) for value in header["pixdim"][1:4]]
    spacing[axes:] = [value if math.isfinite(value) else 1.0 for value in spacing[axes:]]
    qform_code, sform_code = max(int(header["qform_code"]), 0), max(int(header["sform_code"]), 0)
    qform = [float(header[name]) if qform_code else 0.0 for name in QFORM_FIELDS]
    sform = [float(value) if sform_code else 0.0 for name in SFORM_FIELDS for value in header[name]]
    return NiftiForms(
        version=version,
        units=int(header["xyzt_units"]),
        pixdim=(-1.0 if header["pixdim"][0] < 0 else 1.0, spacing[0], spacing[1], spacing[2]),
        qform_code=qform_code,
        qform=tuple(qform),  # type: ignore[arg-type]
        sform_code=sform_code,
        sform=tuple(sform),
    )


def put_forms(header: Any, forms: NiftiForms) -> None:
    """Store `forms` in a nibabel `header`."""
    header["xyzt_units"] = forms.units
    header["pixdim"] = (*forms.pixdim, 0, 0, 0, 0)
    header["qform_code"], header["sform_code"] = forms.qform_code, forms.sform_code
    for name, value in zip(QFORM_FIELDS, forms.qform, strict=True):
        header[name] = value
    for name, row in zip(SFORM_FIELDS, np.reshape(forms.sform, (3, 4)), strict=True):
        header[name] = row


def forms_for(geometry: Geometry) -> NiftiForms:
    """The forms of the file that `geometry` was read from; ITK's for cases stored by versions without them."""
    if geometry.nifti is not None:
        return geometry.nifti
    axes = len(geometry.origin)
    if axes == 2:
        geometry = replace(geometry, spacing_mm=(1.0, *geometry.spacing_mm[1:]))
    header = Nifti1Header()
    header.set_sform(ras_affine_mm(geometry), SCANNER)
    header.set_qform(ras_affine_mm(geometry), SCANNER)
    header["pixdim"][1:4] = geometry.spacing_mm[::-1]
    header["xyzt_units"] = MM_AND_SECONDS
    return forms_of(header, 1, axes)


def place(forms: NiftiForms, shape: tuple[int, int, int], axes: int, reader: str, path: Path) -> Geometry:
    """The grid of a file with `axes` (2 or 3) spatial axes.

    `pixdim` gives the spacing, as in ITK and nibabel. Where it contradicts the sform, the sform's counts. A sform that
    contradicts `pixdim` or the qform is used with a warning.

    Raises:
        UserError: an impossible spacing, origin or direction.
    """
    spacing_mm = [value * forms.unit_mm for value in forms.pixdim[1 : axes + 1]]
    check_spacing(spacing_mm, path)
    identity = tuple(np.eye(axes).ravel().tolist())
    blank = _spaced(Geometry(reader, shape, (1.0, 1.0, 1.0), (0.0,) * axes, identity, nifti=forms), spacing_mm)
    qform = _spaced(_grid(blank, "qform", _qform_matrix(forms), path), spacing_mm) if forms.qform_code else None
    if not forms.sform_code:
        geometry = qform or blank  # without any form as in ITK
        check_grid(geometry, path)
        return geometry
    sform = _grid(blank, "sform", _sform_matrix(forms), path)
    check_grid(sform, path)
    others = {"pixdim": _spaced(sform, spacing_mm)} | ({"qform": qform} if qform else {})
    apart = {name: corner_distance_voxels(sform, grid) for name, grid in others.items()}
    conflicts = {name: distance for name, distance in apart.items() if distance > TOLERANCE_VOXELS}
    if conflicts:
        say_once(f"Warning: sform and {' and '.join(conflicts)} of {path} contradict each other, by up to "
            f"{max(conflicts.values()):.3g} voxels. The sform is used.")
    return sform if "pixdim" in conflicts else others["pixdim"]


def _grid(blank: Geometry, name: str, matrix: np.ndarray | None, path: Path) -> Geometry:
    """The grid that the form `name` describes by its `matrix`, with the spacing that the matrix has."""
    assert blank.nifti is not None
    axes, unit_mm = len(blank.origin), blank.nifti.unit_mm
    if matrix is None or not np.isfinite(matrix).all():
        numbers = blank.nifti.sform if name == "sform" else blank.nifti.qform
        raise UserError("A form of a NIfTI header whose code is above 0 must hold finite numbers, and the qform a "
                        "rotation.",
                        where=path, found=f"{name} {numbers}",
                        mend="Correct the form in the header, or set its code to 0 if the other form is correct.")
    columns = TO_LPS[:, None] * matrix[:, :axes]
    lengths = np.sqrt((columns[:axes] ** 2).sum(0))
    if axes == 2 and not np.allclose(lengths, np.sqrt((columns**2).sum(0)), rtol=IN_PLANE):
        raise UserError("The axes of a 2D file must be in the plane of x and y.", where=path,
                        found=f"{name} {matrix.tolist()}",
                        mend="Save the slice as a volume of one slice.")
    with np.errstate(invalid="ignore", divide="ignore"):  # axes of length 0 are refused with the grid
        direction = columns[:axes] / lengths
    origin = TO_LPS * matrix[:, 3] * unit_mm
    grid = replace(blank, origin=tuple(origin[:axes].tolist()), direction=tuple(direction.ravel().tolist()))
    return _spaced(grid, (lengths * unit_mm).tolist())


def _spaced(grid: Geometry, spacing_mm: list[float]) -> Geometry:
    """`grid` with a spacing of (x, y[, z])."""
    if len(spacing_mm) == 2:
        spacing_mm = [*spacing_mm, max(spacing_mm) * SLICE_SPACING_2D]
    return replace(grid, spacing_mm=(spacing_mm[2], spacing_mm[1], spacing_mm[0]))


def _sform_matrix(forms: NiftiForms) -> np.ndarray:
    """Float64 (3, 4) from voxel indices (x, y, z, 1), in the file's unit."""
    return np.reshape(forms.sform, (3, 4))


def _qform_matrix(forms: NiftiForms) -> np.ndarray | None:
    """As `_sform_matrix`, of the quaternion and `pixdim`; None where the quaternion is no rotation."""
    vector = np.array(forms.qform[:3])
    remainder = 1 - vector @ vector
    if not remainder >= -QUATERNION_EXCESS:  # NaN too
        return None
    qfac, x, y, z = forms.pixdim
    rotation = quat2mat((math.sqrt(max(remainder, 0.0)), *vector))
    # NIfTI's own library stores this matrix as float32.
    return np.column_stack([(rotation * (x, y, qfac * z)).astype(np.float32), forms.qform[3:]]).astype(np.float64)
