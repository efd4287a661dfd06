"""Prompts of many cases in one JSON file that a person or program writes (documentation/reference/prompts-file.md)."""

from __future__ import annotations

import os
import reprlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from samunet.dataset.labels import Label, LabelSpace
from samunet.dataset.segmentations import start_on_grid
from samunet.errors import UserError, joined
from samunet.files import digest_of_file, digest_of_json, digest_of_path, read_json
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.preprocessing.prompts.case_prompts import CasePrompts, LabelPrompts
from samunet.preprocessing.prompts.content import PromptsContent
from samunet.preprocessing.prompts.positions import (
    boxes_meet,
    plan_masks,
    plan_positions,
    points_inside,
    voxels_of_file,
    voxels_of_world,
)
from samunet.schema import decode

SPACES = ("voxel", "world_mm")
CORNERS = np.array(list(product((0, 1), repeat=3)))  # for each of a box's eight corners, which end of x, y and z
SHOWN_NAMES = 5
FEWER = "Leave prompts out; a few say as much."
MEND = "Correct what is named; documentation/reference/prompts-file.md has an example."
MOST_POINTS_OF_SLICE = 1_000


@dataclass(frozen=True)
class PromptsFile:
    """What a prompts file holds, checked; places are (x, y, z) in the space that it names.

    Arguments:
        space: `voxel` or `world_mm`.
        cases: case -> label -> its prompts.
        labels: of dataset.json.
        masks: case -> the label map that its prompts correct.
    """

    path: Path
    space: str
    cases: dict[str, dict[Label, LabelPrompts]]
    labels: LabelSpace
    masks: dict[str, Path]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the file, and of the masks that it names, if any."""
        own = digest_of_file(self.path)
        return digest_of_json([own, *map(digest_of_path, self.masks.values())]) if self.masks else own

    @property
    def kinds(self) -> set[str]:
        """Which of `points`, `negative points`, `boxes` and `masks` it holds."""
        given = [prompts for case in self.cases.values() for prompts in case.values()]
        held = {"points": any(each.positive.any() for each in given), "masks": bool(self.masks),
                "negative points": any((~each.positive).any() for each in given),
                "boxes": any(len(each.boxes) for each in given)}
        return {kind for kind, holds in held.items() if holds}

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

    def prompted(self, case: PreparedCase, dataset_plan: DatasetPlan) -> PreparedCase:
        """The case with its prompts, and with the mask that they start from.

        Raises:
            UserError: see `on_grid` and `start`.
        """
        return replace(case, prompts=self.on_grid(case.properties, dataset_plan),
                       start=self.start(case.properties, dataset_plan))

    def start(self, properties: CaseProperties, dataset_plan: DatasetPlan) -> np.ndarray | None:
        """The mask to start from, bool (F, Z, Y, X) on the plan's grid; None where the file names none.

        Raises:
            UserError: see `start_on_grid`.
        """
        if properties.name not in self.masks:
            return None
        segmentation = start_on_grid(dataset_plan.reader, self.masks[properties.name], properties.geometry,
                                     Path(f"the image of {properties.name}"), self.labels)
        return plan_masks(segmentation, properties, dataset_plan, self.labels)

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
        PromptsContent,
        read_json(path),
        where=path,
        mend=MEND,
        exact=True,
        rule=(
            f'A prompts file must hold {{"space": "{SPACES[0]}" or "{SPACES[1]}", '
            '"cases": {"<case>": {"<label>": {"points": [[x, y, z], {"at": [x, y, z], "positive": false}], '
            '"boxes": [{"min": [x, y, z], "max": [x, y, z]}]}}}, "masks": {"<case>": "<path>"}}, all of them finite '
            "numbers; masks may be left out."
        ),
    )
    known: dict[str, Label] = {labels.name_of(label): label for label in labels.foreground}
    masks = {name: path.parent / mask for name, mask in content.masks.items()}
    problems = _mask_problems(path, masks, content.cases)
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
    cases = {name: {known[label]: prompts.arrays() for label, prompts in given.items()}
             for name, given in content.cases.items()}
    return PromptsFile(path, content.space, cases, labels, masks)


def _mask_problems(path: Path, masks: Mapping[str, Path], cases: Collection[str]) -> list[UserError]:
    """Masks of cases without prompts, which would be used in silence or not at all, and those that do not exist."""
    problems = [UserError("A mask to start from must be of a case of the prompts file.", where=path, found=name,
                          mend="Add the case to `cases`, if only as {}.") for name in masks if name not in cases]
    return problems + [UserError("A mask to start from must exist.", where=f"{path}, case {name}",
                                 found=f"no such file: {mask}",
                                 mend="Name a label map; a path that is not absolute is relative to the prompts file.")
                       # Path.exists raises for names that are too long
                       for name, mask in masks.items() if not os.path.exists(mask)]


def _listed(wrong: Sequence[Any], problem: Callable[[str], UserError]) -> list[UserError]:
    """A problem for each of the first of `wrong`, and one that counts the others."""
    shown = [problem(reprlib.repr(each)) for each in wrong[:SHOWN_NAMES]]
    return shown + ([problem(f"{len(wrong) - SHOWN_NAMES} more")] if len(wrong) > SHOWN_NAMES else [])
