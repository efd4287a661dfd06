"""The JSON of a prompts file as types, from which its schema is generated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from samunet.preprocessing.prompts.case_prompts import LabelPrompts

FARTHEST = 1e9  # voxels or mm; of boxes, which may reach out of the image
# Of one label of a case. Every point of a slice is a token of one query, and every box a query on each of its slices.
MOST_POINTS, MOST_BOXES = 20_000, 1_000

Coordinate = Annotated[float, Meta(ge=-FARTHEST, le=FARTHEST)]
Place = Annotated[tuple[Coordinate, Coordinate, Coordinate], Meta(description="[x, y, z]")]


class PointContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A point that says whether it is in the label (positive, the default) or must not be part of it."""

    at: Place
    positive: bool = True


@dataclass(frozen=True)
class BoxContent:
    """A box by its lowest and its highest corner; of voxels, both belong to it."""

    min: Place
    max: Place


@dataclass(frozen=True)
class LabelContent:
    """The prompts of one label of one case, in the order in which they were given."""

    points: Annotated[list[Place | PointContent], Meta(max_length=MOST_POINTS)] = field(default_factory=list)
    boxes: Annotated[list[BoxContent], Meta(max_length=MOST_BOXES)] = field(default_factory=list)

    def reversed(self) -> list[BoxContent]:
        """The boxes that end before they begin."""
        return [box for box in self.boxes if any(low > high for low, high in zip(box.min, box.max, strict=True))]

    def arrays(self) -> LabelPrompts:
        """The same as arrays, places (x, y, z)."""
        points = [each if isinstance(each, PointContent) else PointContent(each) for each in self.points]
        return LabelPrompts(np.reshape([point.at for point in points], (-1, 3)).astype(float),
                            np.reshape([[box.min, box.max] for box in self.boxes], (-1, 2, 3)).astype(float),
                            np.array([point.positive for point in points], bool))


@dataclass(frozen=True)
class PromptsContent:
    """Prompts of many cases: case -> label -> points and boxes; and for some cases a label map to start from.

    A path of a label map that is not absolute is relative to the prompts file.
    """

    space: Literal["voxel", "world_mm"]
    cases: dict[str, dict[str, LabelContent]]
    masks: dict[str, str] = field(default_factory=dict)


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a prompts file, published as documentation/reference/prompts-file.schema.json.

    It says what the reader refuses, but for what it cannot say: labels and cases that exist, places inside images.
    """
    schema = msgspec.json.schema(PromptsContent)
    for kind in schema["$defs"].values():
        kind["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "samunet prompts file", **schema}
