"""The report's charts: no single dots, marks that differ in colour and shape, text that is legible."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import matplotlib.colors
import numpy as np
import pytest

from samunet.benchmarking import charts
from samunet.benchmarking.marks import COLOURS, marks
from samunet.benchmarking.results import Result


def result(method: str, *dice: float, shots: int | None = 5) -> Result:
    cases = {f"c{index}": {"1": {"Dice": value}} for index, value in enumerate(dice)}
    return Result(method, shots, {0: cases}, {(0, "0"): {"seconds": {"training": 60.0}}}, variant=method)


ONE, TWO = result("atlas", 0.8, 0.7), result("hybrid", 0.9, 0.8)


def test_a_chart_of_a_single_dot_is_left_out() -> None:
    assert charts.dice_over_time([ONE], None) is None
    assert charts.dice_over_time([replace(ONE, runs={}), TWO], None) is None  # an imported model has no time
    assert charts.dice_over_time([ONE, TWO], None) is not None
    assert charts.paired(result("a", 0.5), result("b", 0.6)) is None and charts.paired(TWO, ONE) is not None
    assert charts.boxes([result("a", 0.5)], "1", "left") is None and charts.boxes([ONE], "1", "left") is not None
    line = {"iteration": 50, "loss": 1.0}
    assert charts.training_curves({"a": [line]}) is None
    assert charts.training_curves({"a": [line], "b": [line, {"iteration": 100, "loss": 0.5}]}) is not None
    assert charts.label_efficiency([ONE, TWO], None) is None


def test_labels_have_their_names_and_text_is_legible() -> None:
    drawn = [charts.boxes([ONE, TWO], "1", "anterior"), charts.dice_over_time([ONE, TWO], None),
             charts.label_efficiency([ONE, result("atlas", 0.9, 0.9, shots=None)], None)]
    assert "Dice of anterior" in (drawn[0] or "")
    for svg in drawn:
        sizes = [float(size) for size in re.findall(r"font(?:-size)?: (?:[a-z]+ )*([0-9.]+)px", svg or "")]
        assert {*sizes} <= {charts.POINTS, 0.7 * charts.POINTS}  # the exponents of a logarithmic axis are smaller
        assert charts.POINTS in sizes


def test_neighbouring_marks_differ_in_colour_and_in_shape() -> None:
    found = list(marks(f"m{index}" for index in range(56)).values())
    assert len({*found}) == 56 == len({(mark.colour, mark.shape) for mark in found})
    for one, other in pairwise(found):
        assert one.colour != other.colour and one.shape != other.shape and one.dash != other.dash
    assert list(marks(["b", "a", "b"])) == ["b", "a"]


# Machado, Oliveira and Fernandes, IEEE TVCG 15 (2009), severity 1: protanopia and deuteranopia, on linear RGB.
BLINDNESS = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


@pytest.mark.parametrize("kind", BLINDNESS)
def test_colours_stay_apart_for_the_colour_blind(kind: str) -> None:
    linear = np.array([matplotlib.colors.to_rgb(colour) for colour in COLOURS]) ** 2.2
    seen = np.clip(linear @ np.array(BLINDNESS[kind]).T, 0, 1) ** (1 / 2.2)
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(len(COLOURS), 1)]
    assert distances.min() > 0.1
