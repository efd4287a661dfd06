"""The loop of simulated clicks on answers that are known: its steps, scores and the file's content by hand."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.dataset.labels import LabelSpace
from samunet.evaluation.clicks import Click
from samunet.interaction.click_evaluation import ClickSettings, click_curves, clicks_content

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})


class Cubes:
    """Answers a positive click by the cube of 3 voxels around it, a negative one by clearing that cube."""

    def __init__(self, shape, labels=LABELS):
        self.mask, self.labels, self.calls = np.zeros(shape, np.uint8), labels, []

    def add_point(self, place, label, positive=True):
        self.calls.append(("point", place, label, positive))
        cube = self.mask[tuple(slice(max(each - 1, 0), each + 2) for each in place)]
        value = self.labels.names[label]
        cube[:] = value if positive else np.where(cube == value, 0, cube)

    def add_box(self, low, high, label):
        self.calls.append(("box", low, high, label))
        self.mask[tuple(slice(first, last + 1) for first, last in zip(low, high, strict=True))] = (
            self.labels.names[label])


def truth_of_two():
    truth = np.zeros((9, 9, 16), np.uint8)
    truth[2:5, 2:5, 2:5] = 1  # a cube that one click answers
    truth[2:5, 2:5, 9:12] = truth[2:5, 6:9, 9:12] = 2  # two cubes of the other label: two clicks
    return truth


def test_each_label_gets_a_click_a_step_until_it_has_no_error():
    answers = Cubes((9, 9, 16))
    curves = click_curves(answers, truth_of_two(), LABELS, (1, 1, 1), "case", ClickSettings(clicks=3))
    assert curves["a"].clicks == (Click((3, 3, 3), True), None, None)
    assert curves["b"].clicks == (Click((3, 3, 10), True), Click((3, 7, 10), True), None)
    assert [score.dice for score in curves["a"].scores] == [0, 1, 1, 1]
    assert [score.dice for score in curves["b"].scores] == [0, pytest.approx(2 / 3), 1, 1]
    assert [call[2] for call in answers.calls] == ["a", "b", "b"]
    assert curves["a"].areas is None


def test_a_step_s_clicks_are_chosen_before_the_first_is_given():
    """The click of `a` also clears what was wrong of `b`; `b` is clicked all the same."""
    truth = np.zeros((3, 9, 9), np.uint8)
    truth[:, 2:5, 2:5] = 1
    answers = Cubes((3, 9, 9))
    answers.mask[:, 3, 3] = 2
    click_curves(answers, truth, LABELS, (1, 1, 1), "case", ClickSettings(clicks=1))
    assert [(call[2], call[3]) for call in answers.calls] == [("a", True), ("b", False)]


def test_a_box_comes_first_and_an_absent_label_gets_none():
    truth = np.where(truth_of_two() == 1, 1, 0).astype(np.uint8)
    answers = Cubes((9, 9, 16))
    curves = click_curves(answers, truth, LABELS, (1, 1, 1), "case", ClickSettings(clicks=5, box=True))
    assert answers.calls == [("box", [2, 2, 2], [4, 4, 4], "a")]
    assert [score.dice for score in curves["a"].scores] == [1.0] * 6
    assert curves["a"].areas.dice == 4.0 and curves["a"].areas.nsd == 4.0
    assert [score.dice for score in curves["b"].scores] == [1.0] * 6  # rightly absent


def test_ignored_voxels_are_never_clicked():
    labels = LabelSpace({"background": 0, "a": 1, "ignore": 2})
    truth = np.full((5, 9, 9), 2, np.uint8)
    truth[1:4, 1:4, 1:4] = 1
    answers = Cubes((5, 9, 9), labels)
    answers.mask[1:4, 5:9, 5:9] = 1  # wrong or not, nobody knows
    curves = click_curves(answers, truth, labels, (1, 1, 1), "case", ClickSettings(clicks=2))
    assert curves["a"].clicks == (Click((2, 2, 2), True), None) and curves["a"].scores[1].dice == 1


def test_regions_are_clicked_as_they_are_evaluated():
    labels = LabelSpace({"background": 0, "whole": (1, 2), "core": (2,)}, (1, 2))
    truth = np.zeros((7, 7, 7), np.uint8)
    truth[1:6, 1:6, 1:6] = 1
    truth[2:5, 2:5, 2:5] = 2
    answers = Cubes((7, 7, 7), LabelSpace({"background": 0, "whole": 1, "core": 2}))
    curves = click_curves(answers, truth, labels, (1, 1, 1), "case", ClickSettings(clicks=1))
    assert answers.calls == [("point", (3, 3, 3), "whole", True), ("point", (3, 3, 3), "core", True)]
    assert curves["core"].scores[1].dice == 1 and curves["whole"].scores[1].dice == 54 / (27 + 125)


def test_the_seed_breaks_ties():
    truth = np.zeros((3, 5, 12), np.uint8)
    truth[1, 2, 1:11] = 1  # ten voxels, all 1 from the outside

    def place(seed, case="case"):
        return click_curves(Cubes((3, 5, 12)), truth, LABELS, (1, 1, 1), case, ClickSettings(1, seed=seed))["a"].clicks

    assert place(0) == place(0) and len({place(seed) for seed in range(20)}) > 3
    assert len({place(0, str(case)) for case in range(20)}) > 3


def test_the_content_says_oracle_and_has_means_by_hand():
    settings = ClickSettings(clicks=2, seed=7)
    curves = click_curves(Cubes((9, 9, 16)), truth_of_two(), LABELS, (1, 1, 1), "one", settings)
    content = clicks_content({"one": curves}, settings)
    assert content["oracle"] is True and content["simulator"] == "largest_error" and content["seed"] == 7
    assert content["clicks"] == 2 and content["box"] is False and content["tolerance_mm"] == 2.0
    assert content["labels"]["a"]["Dice"] == [0, 1, 1]
    assert content["mean"]["Dice"] == [0, pytest.approx(5 / 6), 1] and content["mean"]["Dice_area"] is None
    assert content["cases"]["one"]["a"]["clicks"] == [{"place": [3, 3, 3], "positive": True}, None]
    absent = click_curves(Cubes((9, 9, 16)), np.zeros((9, 9, 16), np.uint8), LABELS, (1, 1, 1), "two", settings)
    content = clicks_content({"one": curves, "two": absent}, settings)
    assert content["labels"]["a"]["Dice"] == [0.5, 1, 1] and content["labels"]["a"]["present"] == 1
