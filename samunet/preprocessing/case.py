"""One preprocessed case: arrays on the plan's grid, and all that is needed to go back to the file's own grid."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samunet.dataset.geometry import Geometry
from samunet.planning.sections import Voxels
from samunet.preprocessing.prompts.case_prompts import CasePrompts
from samunet.schema import decode

Shape = tuple[Voxels, Voxels, Voxels]


@dataclass(frozen=True)
class CaseProperties:
    """Typed properties, stored as JSON beside the arrays.

    Shapes and boxes are (z, y, x) after the plan's transpose. `bbox` is half-open [[low, high], ...].
    `intensity_percentiles` holds, per channel, the 0.5 and 99.5 percentiles of the preprocessed image, for the
    encoder's input. `signature` says from which files, and by which plan, the arrays were made; the digests are of the
    arrays. `label_values` are those of the label file; None without one, and in arrays of earlier versions.
    `label_on_grid` is whether the label was brought onto its image's grid; false without one, and in arrays of earlier
    versions, which matched voxels by index.
    """

    name: str
    geometry: Geometry
    shape_before_cropping: Shape
    bbox: tuple[tuple[int, int], ...]
    shape_after_cropping: Shape
    shape: Shape
    intensity_percentiles: tuple[tuple[float, float], ...]
    image_digest: str
    segmentation_digest: str | None
    signature: dict[str, Any]
    label_values: tuple[int, ...] | None = None
    label_on_grid: bool = False

    def to_json(self) -> dict[str, Any]:
        """The content of the case's JSON file."""
        return {**asdict(self), "geometry": self.geometry.to_json()}

    @classmethod
    def from_json(cls, content: Any, where: str | Path = "") -> CaseProperties:
        """What `to_json` gave, read from file `where`.

        Raises:
            UserError: content of another form.
        """
        return decode(cls, content, rule="A preprocessed case must have the properties that preprocessing writes.",
                      where=where,
                      mend="Run samunet_preprocess again, which rebuilds the case.")


@dataclass(frozen=True)
class PreparedCase:
    """`image` float32 (C, Z, Y, X) normalised; `segmentation` int16 (1, Z, Y, X) or None.

    The segmentation has label values, OUTSIDE the non-zero mask, and UNANNOTATED where a run does not use labels.
    `prompts` are for variants that answer prompts; None where none were given. `start`: bool (F, Z, Y, X), for each
    foreground label the mask that prompts correct; None where they start from nothing.
    """

    image: np.ndarray
    segmentation: np.ndarray | None
    properties: CaseProperties
    prompts: CasePrompts | None = None
    start: np.ndarray | None = None
