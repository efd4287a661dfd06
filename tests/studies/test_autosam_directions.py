"""Directions read from a cases.csv that was written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from samunet.evaluation.statistics import Interval


@pytest.fixture
def cases(tmp_path: Path) -> Path:
    lines = ["method,shots,draw,case,class,Dice,IoU,HD95_mm,ASSD_mm,NSD,absolute_volume_error_ml"]
    for case in ("a", "b", "c"):
        lines += [f"autosam,5,0,{case},1,0.8,,,1.0,,", f"autosam,5,0,{case},2,0.6,,,2.0,,"]
        lines += [f"cnn_head,5,0,{case},1,0.5,,,{'inf' if case == 'c' else '3.0'},,",
                  f"cnn_head,5,0,{case},2,0.5,,,4.0,,"]
    (tmp_path / "cases.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "cases.csv"


def test_means_over_classes_are_paired_by_case(cases: Path, script: Callable[[str], ModuleType]) -> None:
    directions = script("autosam_directions")
    scores, compared = directions.scores_of(directions.from_csv(cases)), directions.compared
    dice = compared(scores, None, "5", "Dice", "autosam", "cnn_head")
    assert (dice.first, dice.second, dice.left_out, dice.verdict) == (pytest.approx(0.7), 0.5, 0, "holds")
    assert dice.difference == pytest.approx(0.2)
    distance = compared(scores, None, "5", "ASSD_mm", "autosam", "cnn_head")  # case c has an empty class
    assert (distance.first, distance.second, distance.left_out, distance.verdict) == (1.5, 3.5, 1, "holds")
    assert compared(scores, None, "5", "ASSD_mm", "cnn_head", "autosam").verdict == "the other way round"


def test_what_intervals_tell(script: Callable[[str], ModuleType]) -> None:
    directions = script("autosam_directions")
    equal, verdict = directions.equal, directions.verdict
    assert verdict(Interval(0.1, -0.1, 0.3), smaller=False) == verdict(Interval(0.1, -0.1, 0.3),
                                                                       smaller=True) == "not significant"
    assert verdict(Interval(-0.2, -0.3, -0.1), smaller=True) == "holds"
    assert equal(Interval(0.0, -0.02, 0.01)) == "about equal"
    assert equal(Interval(0.0, -0.03, 0.01)) == "not decided"
    assert equal(Interval(0.1, 0.03, 0.2)) == "not equal"
