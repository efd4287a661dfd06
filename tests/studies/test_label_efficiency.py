"""Points of the plot, read off rows as `samunet_benchmark` writes them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def plot(script) -> ModuleType:
    return script("label_efficiency")


ROWS = [{"method": "atlas", "shots": "5", "Dice": "0.829 [0.810, 0.844]"},
        {"method": "atlas", "shots": "all", "Dice": "0.853 [0.835, 0.868]"},
        {"method": "atlas", "shots": "5 (10 slices)", "Dice": "0.7 [0.6, 0.8]"},
        {"method": "unet", "shots": "5", "Dice": "not run"}]


def test_points_are_means_with_intervals_of_whole_cases(plot) -> None:
    assert plot.points([{"rows": ROWS[:1]}, {"rows": ROWS[1:]}]) == {"atlas": {"5": (0.829, 0.810, 0.844),
                                                                               "all": (0.853, 0.835, 0.868)}}


def test_of_several_commits_the_last_one_named_counts(plot) -> None:
    old, new = ({"commit": commit, "rows": [{"method": "unet", "shots": "5", "Dice": dice}]}
                for commit, dice in (("abc1", "0.7 [0.6, 0.8]"), ("def2", "0.8 [0.7, 0.9]")))
    assert plot.chosen([old, new], ["def", "abc"]) == [new, old]
    assert plot.points(plot.chosen([new, old], ["abc", "def"])) == {"unet": {"5": (0.8, 0.7, 0.9)}}
    assert plot.chosen([old, new], ["abc"]) == [old]


def test_cases_ascend_and_all_is_last(plot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(plot.Figure, "savefig", lambda figure, output, dpi: drawn.append(figure))
    plot.draw({"atlas": {"16": (0.8, 0.7, 0.9), "all": (0.85, 0.8, 0.9), "5": (0.7, 0.6, 0.8)}}, tmp_path / "plot.png")
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["5", "16", "all"]
    assert axes.containers[0].lines[0].get_ydata().tolist() == [0.7, 0.8, 0.85]
