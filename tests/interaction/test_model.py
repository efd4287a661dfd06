"""Clicks and masks on their way to the plan's grid and back, by hand: answers that are the click's own voxel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference.model_folder import TrainedModel
from samunet.interaction.actions import Box, Point
from samunet.interaction.model import ModelAnswers
from samunet.planning.plans import DatasetPlan, Plans
from samunet.preprocessing.case import CaseProperties
from samunet.preprocessing.prompts.case_prompts import CasePrompts
from samunet.variants.answers import logits_of_masks

PLAIN = LabelSpace({"background": 0, "a": 1, "b": 2})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))
# The plan's axes are the file's (y, z, x). Of 8 rows, rows 2 to 7 are left after the crop.
PLAN = DatasetPlan("SimpleITKIO", (1, 0, 2), (1, 0, 2), (1.0, 1.0, 1.0), (6, 3, 4), False, ("MRI",), ("zscore",),
                   (False,), ({},))
GEOMETRY = Geometry("SimpleITKIO", (3, 8, 4), (1.0, 1.0, 1.0), (0.0,) * 3, (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
SAME, COARSE = (6, 3, 4), (3, 3, 4)  # of the plan's grid: the same voxels, or two rows in one


class LastClick:
    """Adds the voxel of each label's last point to the mask before it (a negative one: takes it away)."""

    refines = True

    def __init__(self, shape: tuple[int, int, int], labels: LabelSpace) -> None:
        self.shape, self.labels = shape, labels
        self.given: list[tuple[CasePrompts, np.ndarray | None]] = []

    def answer(self, prompts: CasePrompts, previous: np.ndarray | None) -> np.ndarray:
        self.given.append((prompts, previous))
        masks = np.zeros((2, *self.shape), bool) if previous is None else previous.copy()
        for label, own in prompts.items():
            index = self.labels.foreground.index(label)
            masks[(index, *np.floor(own.points[-1]).astype(int))] = own.positive[-1]
        return logits_of_masks(masks, self.labels)


class Started(LastClick):
    """The same, from the mask that the prompts started from."""

    refines = False


def model_with(answers: LastClick, labels: LabelSpace = PLAIN) -> ModelAnswers:
    plans = Plans("p", "Dataset001_A", PLAN, {})
    model = TrainedModel(Path("m"), "sam_zeroshot", ("0",), (), plans, None, labels, {})
    properties = CaseProperties("c", GEOMETRY, (8, 3, 4), ((2, 8), (0, 3), (0, 4)), (6, 3, 4), answers.shape,
                                ((0.0, 1.0),), "", None, {})
    return ModelAnswers(model, properties, answers)


def point(z: float, y: float, x: float, label: str = "a", positive: bool = True) -> Point:
    return Point((z, y, x), label, positive)


def test_a_click_is_answered_at_its_own_voxel_and_the_mask_before_it_is_refined() -> None:
    answers = LastClick(SAME, PLAIN)
    model, empty = model_with(answers), np.zeros((3, 8, 4), np.uint8)
    first = model.answer([point(1, 2, 3)], empty, None)
    assert np.argwhere(first).tolist() == [[1, 2, 3]] and answers.given[0][1] is None
    assert answers.given[0][0][1].points.tolist() == [[0.5, 1.5, 3.5]]  # row 2 is the plan's first slice
    second = model.answer([point(1, 2, 3), point(2, 7, 0, "b")], first, None)
    assert np.argwhere(second == 1).tolist() == [[1, 2, 3]] and np.argwhere(second == 2).tolist() == [[2, 7, 0]]
    prompts, previous = answers.given[1]
    assert list(prompts) == [1, 2] and np.argwhere(previous).tolist() == [[0, 0, 1, 3]]
    third = model.answer([point(1, 2, 3), point(1, 2, 3, "a", False)], second, None)
    assert np.argwhere(third).tolist() == [[2, 7, 0]]
    assert answers.given[2][0][1].positive.tolist() == [True, False]


def test_answers_that_do_not_refine_get_the_mask_that_prompts_started_from() -> None:
    answers = Started(SAME, PLAIN)
    model, start, mask = model_with(answers), np.zeros((3, 8, 4), np.uint8), np.ones((3, 8, 4), np.uint8)
    start[0, 5, 1], start[0, 0, 1] = 2, 2  # row 0 is cropped away for the model, and stays
    found = model.answer([point(1, 2, 3)], mask, start)
    assert np.argwhere(found == 2).tolist() == [[0, 0, 1], [0, 5, 1]] and np.argwhere(found == 1).tolist() == [
        [1, 2, 3]]
    assert np.argwhere(answers.given[0][1]).tolist() == [[1, 3, 0, 1]]
    model.answer([point(1, 2, 3)], mask, None)
    assert answers.given[1][1] is None


def test_voxels_that_an_answer_does_not_change_stay_where_grids_differ() -> None:
    model, mask = model_with(LastClick(COARSE, PLAIN)), np.zeros((3, 8, 4), np.uint8)
    mask[0, 2:8:2, 0] = 1  # every second row, which the plan's grid cannot hold
    found = model.answer([point(2, 4, 3, "b")], mask, None)
    assert (found[0] == mask[0]).all() and set(np.argwhere(found == 2)[:, 1].tolist()) >= {4, 5}


def test_regions_go_there_and_come_back_as_nnunet_exports_them() -> None:
    answers = LastClick(SAME, REGIONS)
    model, mask = model_with(answers, REGIONS), np.zeros((3, 8, 4), np.uint8)
    mask[0, 3, 0], mask[0, 3, 1] = 1, 2
    found = model.answer([point(2, 4, 3, "core")], mask, None)
    assert np.argwhere(answers.given[0][1]).tolist() == [[0, 1, 0, 0], [0, 1, 0, 1], [1, 1, 0, 1]]  # whole, then core
    assert found[0, 3, :2].tolist() == [1, 2] and found[2, 4, 3] == 2 and (found > 0).sum() == 3


def test_a_box_is_whole_voxels_and_prompts_in_the_crop_are_refused() -> None:
    model = model_with(LastClick(SAME, PLAIN))
    made = model._case_prompts([Box((0, 1, 1), (1, 4, 2), "b")])
    assert made[2].boxes.tolist() == [[[0.0, 0.0, 1.0], [3.0, 2.0, 3.0]]]  # row 1 is cut away, rows 2 to 4 are left
    for bad in (point(1, 1, 1), Box((0, 0, 0), (2, 1, 3), "a")):
        with pytest.raises(UserError, match="zeros around the image do not count"):
            model.require(bad)
    model.require(Box((0, 0, 0), (2, 2, 3), "a"))
