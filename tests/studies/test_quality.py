"""Figures of the study of predicted Dice, by hand."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from samunet.dataset.labels import LabelSpace
from samunet.files import write_json
from samunet.quality.calibration_file import Calibration
from samunet.quality.cross_validation import MeasuredCase
from samunet.quality.regression import DiceRegression
from samunet.quality.temperature import Voxels


@pytest.fixture
def quality(script) -> ModuleType:
    return script("quality")


def case(name: str, feature: float, dice: float) -> MeasuredCase:
    voxels = Voxels(np.array([[0.0], [math.log(3)]], np.float32), np.array([[False], [True]]))
    return MeasuredCase(name, "1", {"1": {"f": feature}}, {"1": dice}, voxels)


def test_figures_by_hand(quality: ModuleType) -> None:
    calibration = Calibration(0.5, (0.0, 0.0), {"1": DiceRegression({"f": 1.0}, 0.1, 2, 0.0)}, {})
    fitted = [case("a", 0.0, 0.4), case("b", 0.0, 0.6)]
    kept = [case("c", 0.1, 0.2), case("d", 0.2, 0.5), case("e", 0.3, 0.8), case("f", 0.9, math.nan)]
    found = quality.figures(calibration, fitted, kept, LabelSpace({"background": 0, "x": 1}))
    of_class = found["classes"]["x"]  # predicted 0.2, 0.3, 0.4
    assert of_class["cases"] == {"c": pytest.approx([0.2, 0.2]), "d": pytest.approx([0.3, 0.5]),
                                 "e": pytest.approx([0.4, 0.8])}
    assert (of_class["pearson"], of_class["spearman"]) == (pytest.approx(1), pytest.approx(1))
    assert (of_class["error"], of_class["error_of_the_mean"]) == (pytest.approx(0.2), pytest.approx(0.2))
    # All voxels claim the right label with 3/4, and with 9/10 at temperature 0.5.
    assert found["calibration_error"] == pytest.approx([0.25, 0.1])
    assert found["negative_log_likelihood"] == pytest.approx([-math.log(0.75), -math.log(0.9)])
    assert found["cases"] == [2, 4]


def test_kept_cases_are_of_other_patients(quality: ModuleType, tmp_path: Path) -> None:
    write_json(tmp_path / "splits_final.json", [{"train": [], "val": ["a"]}, {"train": ["a"], "val": ["b", "c", "d"]}])
    write_json(tmp_path / "groups.json", {"a": "p", "b": "p", "c": "q", "d": "r"})
    assert quality.kept_cases(tmp_path, 1, ["a"]) == ["c", "d"]
