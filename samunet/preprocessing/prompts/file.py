"""Prompts of many cases in one JSON file that a person or program writes (documentation/reference/prompts-file.md)."""

from __future__ import annotations

import reprlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta

from samunet.dataset.labels import Label, LabelSpace
from samunet.errors import UserError, joined
from samunet.files import read_json
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import CaseProperties
from samunet.preprocessing.prompts.case_prompts import CasePrompts, LabelPrompts
from samunet.preprocessing.prompts.positions import (
    boxes_meet,
    plan_positions,
    points_inside,
    voxels_of_file,
    voxels_of_world,
)
from samunet.schema import decode

SPACES = ("voxel", "world_mm")
CORNERS = np.array(list(product((0, 1), repeat=3)))  # for each of a box's eight corners, which end of x, y and z
SHOWN_NAMES = 5
FARTHEST = 1e9  # voxels or mm; of boxes, which may reach out of the image
FEWER = "Leave prompts out; a few say as much."
MEND = "Correct what is named; documentation/reference/prompts-file.md has an example."
# Of one label of a case. Every point of a slice is a token of one query, and every box a query on each of its slices.
MOST_POINTS, MOST_POINTS_OF_SLICE, MOST_BOXES = 20_000, 1_000, 1_000


Coordinate = Annotated[float, Meta(ge=-FARTHEST, le=FARTHEST)]
Place = tuple[Coordinate, Coordinate, Coordinate]


@dataclass(frozen=True)
class _Box:
    min: Place
    max: Place


@dataclass(frozen=True)
class _LabelContent:
    points: Annotated[list[Place], Meta(max_length=MOST_POINTS)] = field(default_factory=list)
    boxes: Annotated[list[_Box], Meta(max_length=MOST_BOXES)] = field(default_factory=list)

    def reversed(self) -> list[_Box]:
        """The boxes that end before they begin."""
        return [box for box in self.boxes if any(low > high for low, high in zip(box.min, box.max, strict=True))]

    def arrays(self) -> LabelPrompts:
        return LabelPrompts(np.reshape(self.points, (-1, 3)).astype(float),
                            np.reshape([[box.min, box.max] for box in self.boxes], (-1, 2, 3)).astype(float))


@dataclass(frozen=True)
class _Content:
    space: Literal["voxel", "world_mm"]
    cases: dict[str, dict[str, _LabelContent]]


@dataclass(frozen=True)
class PromptsFile:
    """What a prompts file holds, checked; places are (x, y, z) in the space that it names.

    Arguments:
        space: `voxel` or `world_mm`.
        cases: case -> label -> its prompts.
    """

    path: Path
    space: str
    cases: dict[str, dict[Label, LabelPrompts]]

    @property
    def kinds(self) -> set[str]:
        """Which of `points` and `boxes` it holds."""
        given = [prompts for case in self.cases.values() for prompts in case.values()]
        return {name for name in ("points", "boxes") if any(len(getattr(prompts, name)) for prompts in given)}

    def require(self, names: Iterable[str]) -> None:
        """Refuse to go on where a case is not in the file: a forgotten case would look like an empty one.

        Raises:
            UserError: names the cases.
        """
        missing = sorted(set(names) - self.cases.keys())
        if missing:
            more = f" and {len(missing) - SHOWN_NAMES} more" if len(missing) > SHOWN_NAMES else ""
            raise UserError("A prompts file must name every case that is predicted.", where=self.path,
                            found=f"not there: {', '.join(missing[:SHOWN_NAMES])}{more}",
                            mend="Add them; a case in which nothing is to be found is written as {}.")

    def on_grid(self, properties: CaseProperties, dataset_plan: DatasetPlan) -> CasePrompts:
        """The prompts of one case on the plan's grid; boxes are cut to the case.

        Raises:
            UserError: every point that lies outside the case and every box that does not meet it, or world positions of
                a file that does not know where it lies.
        """
        if self.space == "world_mm" and not properties.geometry.origin:
            raise UserError(
                "World positions need images that know where they lie, such as NIfTI; TIFF and PNG do not.",
                where=self.path,
                found=f'"space": "world_mm", case {properties.name}',
                mend='Use "space": "voxel".',
            )
        made, problems = {}, []
        for label, given in self.cases[properties.name].items():
            points = plan_positions(self._voxels(given.points, properties), properties, dataset_plan)
            boxes = self._boxes_on_grid(given.boxes, properties, dataset_plan)
            inside, meets = points_inside(points, properties), boxes_meet(boxes, properties)
            outside = [place.tolist() for place in (*given.points[~inside], *given.boxes[~meets])]
            problems += _listed(outside, partial(self._outside, properties))
            if len(points) and (most := max(Counter(np.floor(points[:, 0]).tolist()).values())) > MOST_POINTS_OF_SLICE:
                problems.append(
                    UserError(
                        f"A label must have at most {MOST_POINTS_OF_SLICE} points on one slice.",
                        where=f"{self.path}, case {properties.name}",
                        found=f"{most} points",
                        mend=FEWER,
                    )
                )
            made[label] = LabelPrompts(points, np.clip(boxes, 0, properties.shape), given.positive)
        if problems:
            raise joined(problems)
        return made

    def _outside(self, properties: CaseProperties, found: str) -> UserError:
        image = properties.geometry.file or properties.geometry
        return UserError(
            "A point must lie inside its image and a box must meet it; zeros around the image do not count.",
            where=f"{self.path}, case {properties.name}",
            found=f"{found} ({self.space}), image of {'x'.join(map(str, image.shape[::-1]))} voxels (x, y, z)",
            mend='Check the order x, y, z, and that "space" says what the numbers are.',
        )

    def _voxels(self, places: np.ndarray, properties: CaseProperties) -> np.ndarray:
        """Places (N, 3) in the file's space -> indices of voxels (x, y, z)."""
        return (voxels_of_file if self.space == "voxel" else voxels_of_world)(places, properties.geometry)

    def _boxes_on_grid(self, boxes: np.ndarray, properties: CaseProperties, dataset_plan: DatasetPlan) -> np.ndarray:
        """Boxes (M, 2, 3) in the file's space -> (M, 2, 3) on the plan's grid, not yet cut to the case.

        Of voxels, the first and the last belong to the box whole. A box in mm that stands oblique to the image becomes
        the smallest one along the image's axes that holds it.
        """
        corners = boxes[:, CORNERS, np.arange(3)].reshape(-1, 3)
        voxels = self._voxels(corners, properties).reshape(-1, len(CORNERS), 3)
        half = 0.5 if self.space == "voxel" else 0.0
        ends = np.stack([voxels.min(1) - half, voxels.max(1) + half], axis=1)
        return plan_positions(ends.reshape(-1, 3), properties, dataset_plan).reshape(-1, 2, 3)


def read_prompts(path: Path, labels: LabelSpace) -> PromptsFile:
    """Read and check a prompts file.

    Raises:
        UserError: no such file, no JSON; unknown keys, another space, places that are not three finite numbers, more
            prompts of a label than can be used; then unknown labels and boxes whose `min` is above their `max`. All
            faults of a kind at once.
    """
    if not path.is_file():
        raise UserError("--prompts must name a prompts file.", where=path, found="no such file")
    content = decode(
        _Content,
        read_json(path),
        where=path,
        mend=MEND,
        exact=True,
        rule=(
            f'A prompts file must hold {{"space": "{SPACES[0]}" or "{SPACES[1]}", '
            '"cases": {"<case>": {"<label>": {"points": [[x, y, z]], '
            '"boxes": [{"min": [x, y, z], "max": [x, y, z]}]}}}}, all of them finite numbers.'
        ),
    )
    known: dict[str, Label] = {labels.name_of(label): label for label in labels.foreground}
    problems: list[UserError] = []
    for name, given in content.cases.items():
        where = f"{path}, case {name}"
        problems += [
            UserError(
                "Prompts must be of labels of dataset.json.",
                where=where,
                found=label,
                mend=f"Use one of: {', '.join(known)}.",
            )
            for label in given
            if label not in known
        ]
        for label, prompts in given.items():
            problems += _listed(
                prompts.reversed(),
                lambda found, place=f"{where}, {label}": UserError(  # type: ignore[misc]
                    "A box must have no minimum above its maximum.", where=place, found=found
                ),
            )
    if problems:
        raise joined(problems)
    return PromptsFile(path, content.space, {name: {known[label]: prompts.arrays() for label, prompts in given.items()}
                                             for name, given in content.cases.items()})


def _listed(wrong: Sequence[Any], problem: Callable[[str], UserError]) -> list[UserError]:
    """A problem for each of the first of `wrong`, and one that counts the others."""
    shown = [problem(reprlib.repr(each)) for each in wrong[:SHOWN_NAMES]]
    return shown + ([problem(f"{len(wrong) - SHOWN_NAMES} more")] if len(wrong) > SHOWN_NAMES else [])
