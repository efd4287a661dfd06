"""What a NIfTI header says about its grid, as stored, so that a result gets the same header as its image."""

from __future__ import annotations

from dataclasses import dataclass

# The lowest three bits of xyzt_units; anything else means millimetres, as in ITK
UNITS_MM = {1: 1000.0, 2: 1.0, 3: 0.001}
UNIT_BITS = 7


@dataclass(frozen=True)
class NiftiForms:
    """The header fields that place voxels. Numbers are the file's, in its unit and in NIfTI's axes (right, anterior,
    superior).

    Attributes:
        version: 1 or 2.
        units: `xyzt_units`.
        pixdim: qfac (1 or -1), then the spacing along x, y and z.
        qform: quatern_b, c, d and qoffset_x, y, z; zeros where `qform_code` is 0.
        sform: srow_x, srow_y and srow_z; zeros where `sform_code` is 0.
    """

    version: int
    units: int
    pixdim: tuple[float, float, float, float]
    qform_code: int
    qform: tuple[float, float, float, float, float, float]
    sform_code: int
    sform: tuple[float, ...]

    @property
    def unit_mm(self) -> float:
        """Length of the header's unit in mm."""
        return UNITS_MM.get(self.units & UNIT_BITS, 1.0)
