"""The paper's table beside figures that were written by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from samunet.benchmarking.results import Result
from samunet.benchmarking.tables import cases_csv

NAMES = {"1": "RV", "2": "MYO"}


@pytest.fixture
def study(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("paper_table")


def result(method: str, shots: int | None, dice: float, assd: float = 2.0) -> Result:
    """Two cases; of the second, class 2 is 0.1 above `dice` and has an infinite distance if `assd` is."""
    def values(value: float, distance: float) -> dict[str, float]:
        return {"Dice": value, "HD95_mm": 2 * distance, "ASSD_mm": distance}

    cases = {"a": {"1": values(dice, 1.0), "2": values(dice, 1.0)},
             "b": {"1": values(dice, 3.0), "2": values(dice + 0.1, assd)}}
    return Result(method, shots, {0: cases}, {}, variant=method)


def test_a_row_has_the_paper_s_figures_and_ours(study) -> None:
    rows = study.autosam_rows([result("cnn_head", 5, 0.6, math.inf)], NAMES, None)
    # Class 1: 0.6 and 0.6; class 2: 0.6 and 0.7. Distances of class 1: 1 and 3; of class 2: 1, and infinity left out.
    assert rows[6 + 3] == ["CNN head", "`cnn_head`", 5, "0.672", "0.625", "0.600", "0.650", "25.5", "1.50", "2.00",
                           "1.00 (1 infinite)"]
    assert rows[3] == ["CNN head", "`cnn_head`", 1, "0.404", None, None, None, None, None, None, None]
    assert [row[0] for row in rows[:6]] == ["UNet", "UNet + SimCLR", "linear head", "CNN head", "AutoSAM",
                                            "AutoSAM, all fine-tuned"]


def test_claims_hold_do_not_or_are_undecided(study) -> None:
    results = [result("cnn_head", 5, 0.6), result("unet", 5, 0.7), result("linear_head", 5, 0.5),
               result("autosam_full", 5, 0.5), result("autosam", 5, 0.61), result("cnn_head", 1, 0.6)]
    verdicts = {(row.better, row.worse): row.verdict for row in study.directions(results, None)
                if row.metric == "Dice"}
    assert verdicts == {
        ("cnn_head", "unet"): "does not hold", ("autosam", "unet"): "does not hold",
        ("cnn_head", "linear_head"): "holds", ("autosam", "linear_head"): "holds",
        ("unet", "linear_head"): "holds",  # 0.311 is below 0.518 at 5 volumes; at 1 the paper has it the other way
        ("unet", "autosam_full"): "holds", ("autosam", "autosam_full"): "holds",
        ("cnn_head", "autosam"): "holds"}  # 0.01 apart: about equal


def test_a_difference_whose_interval_holds_zero_is_undecided(study) -> None:
    first, second = result("unet_simclr", 1, 0.5), result("unet", 1, 0.5)
    second.cases[0]["a"]["1"]["Dice"] = 0.7  # behind in one case, ahead in the other
    second.cases[0]["b"]["1"]["Dice"] = 0.3
    [row] = [row for row in study.directions([first, second], None) if row.metric == "Dice"]
    assert (row.better, row.worse, row.verdict) == ("unet_simclr", "unet", "undecided")
    assert row.difference == pytest.approx(0) and row.low < 0 < row.high


def test_distances_are_claimed_where_the_paper_has_them_and_smaller_is_better(study) -> None:
    results = [result(method, 5, 0.6, assd) for method, assd in (("autosam", 1.0), ("cnn_head", 2.0), ("unet", 0.5))]
    for each in results:
        each.cases[0]["a"] = each.cases[0]["b"]
    found = {(row.better, row.worse): (row.difference, row.verdict) for row in study.directions(results, None)
             if row.metric == "ASSD_mm"}
    # Means over classes: (3 + 1) / 2 = 2, (3 + 2) / 2 = 2.5 and (3 + 0.5) / 2 = 1.75.
    assert found == {("autosam", "cnn_head"): (-0.5, "holds"), ("autosam", "unet"): (0.25, "does not hold"),
                     ("cnn_head", "unet"): (0.75, "does not hold")}


def test_ma_sam_s_columns_are_dice_and_distance_by_organ(study) -> None:
    rows = study.ma_sam_rows([result("nnformer", None, 0.8), result("nnformer", 5, 0.7)], NAMES, None)
    assert rows[0] == ["nnFormer", "`nnformer`", "all", "0.856", "0.825", "0.800", "0.850", "9.95", "3.50", "4.00",
                       "3.00", ""]
    assert rows[1][0] is None and rows[1][2:5] == ["5", None, "0.725"]  # few labels are none of theirs


def test_a_benchmark_s_file_gives_its_results_back(study, tmp_path: Path) -> None:
    results = [result("cnn_head", 5, 0.6, math.inf), result("unet", None, 0.7)]
    (tmp_path / "cases.csv").write_text(cases_csv(results))
    read = study.from_csv(tmp_path / "cases.csv")
    assert [(each.method, each.shots) for each in read] == [("cnn_head", 5), ("unet", None)]
    assert study.tables(read, NAMES, None) == study.tables(results, NAMES, None)


def test_methods_without_a_common_case_are_not_compared(study) -> None:
    one, other = result("cnn_head", 5, 0.6), result("unet", 5, 0.7)
    other.cases[0] = {"c": other.cases[0]["a"]}
    assert list(study.directions([one, other], None)) == []
