"""Position of an array in space: spacing, origin and direction, preserved exactly from reading to writing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from samunet.dataset.io.nifti_forms import NiftiForms

# nnU-Net's slice spacing of a 2D file, in pixel spacings: so large that no rule takes the slice axis for a fine one.
SLICE_SPACING_2D = 999


def axis_not_in_file(shape: Sequence[int], spacing_mm: Sequence[float]) -> int | None:
    """The slice axis of a 2D file's grid, None for a volume: one voxel, 999 times as far as the coarser pixel spacing.

    Arguments:
        shape, spacing_mm: three numbers each, in the same axis order.
    """
    for axis in range(3):
        pixel_mm = max(*spacing_mm[:axis], *spacing_mm[axis + 1 :])
        if shape[axis] == 1 and math.isclose(spacing_mm[axis], SLICE_SPACING_2D * pixel_mm):
            return axis
    return None


@dataclass(frozen=True)
class Geometry:
    """The grid of one image file.

    `spacing_mm` is (z, y, x), as arrays are indexed. `origin` and `direction` are SimpleITK's own tuples (x, y, z
    order, row-major direction); they have 2 and 4 entries for a 2D file read by SimpleITKIO, none for TIFF and natural
    images. The arrays of 2D files have Z = 1, and a `spacing_mm[0]` of 999 times the coarser pixel spacing (nnU-Net's
    convention; natural images have pixels of 1 mm). `reader` is the name of the reader-writer that made it.
    `frames` are the names, without ending, of the files in a folder of frames, in order of time; other formats have
    none. `nifti` is what a NIfTI header says, for results; None for other formats and in cases stored by earlier
    versions. `file` is the grid of the file if the arrays were reoriented; None if they have the file's axes.
    """

    reader: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, ...] = ()
    direction: tuple[float, ...] = ()
    frames: tuple[str, ...] = ()
    nifti: NiftiForms | None = None
    file: Geometry | None = None

    @property
    def is_2d(self) -> bool:
        """Whether it is of a 2D file, whose slice spacing means nothing."""
        return axis_not_in_file(self.shape, self.spacing_mm) is not None

    def to_json(self) -> dict[str, Any]:
        """JSON types; fields that the file's format does not have are left out."""
        content: dict[str, Any] = _json_of(asdict(self))
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Geometry:
        """The geometry of which `content` is the `to_json`."""
        values: dict[str, Any] = _tuples(content)
        if nifti := content.get("nifti"):
            values["nifti"] = NiftiForms(**_tuples(nifti))
        if file := content.get("file"):
            values["file"] = cls.from_json(file)
        return cls(**values)


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}


def _json_of(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _json_of(item) for key, item in value.items() if item is not None}
    return [_json_of(item) for item in value] if isinstance(value, tuple) else value
