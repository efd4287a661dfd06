"""Where an array lies in space: spacing, origin and direction, kept exactly from reading to writing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Geometry:
    """The grid of one image file.

    `spacing_mm` is (z, y, x), as arrays are indexed. `origin` and `direction` are SimpleITK's own tuples (x, y, z
    order, row-major direction); they have 2 and 4 entries for a 2D file read by SimpleITKIO, none for TIFF and natural
    images. The arrays of 2D files have Z = 1, and a `spacing_mm[0]` of 999, or with SimpleITKIO of 999 times the
    coarser pixel spacing (nnU-Net's convention). `reader` is the name of the reader-writer that made it.
    `frames` are the names, without ending, of the files in a folder of frames, in order of time; other formats have none.
    """

    reader: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin: tuple[float, ...] = ()
    direction: tuple[float, ...] = ()
    frames: tuple[str, ...] = ()

    def same_place(self, other: Geometry) -> bool:
        """Whether origin and direction are those of `other`, to NumPy's default tolerance."""
        return len(self.origin) == len(other.origin) and bool(
            np.allclose(self.origin, other.origin) and np.allclose(self.direction, other.direction)
        )

    def to_json(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Geometry:
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
        return cls(**values)

    def to_nnunet(self) -> dict[str, Any]:
        """The properties, built-in types only, that nnU-Net's reader-writers want back when they write."""
        properties: dict[str, Any] = {"spacing": list(self.spacing_mm)}
        if self.reader == "SimpleITKIO":
            spacing_xyz = self.spacing_mm[::-1][: len(self.origin)]
            properties["sitk_stuff"] = {"spacing": spacing_xyz, "origin": self.origin, "direction": self.direction}
        return properties
