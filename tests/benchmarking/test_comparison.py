"""Statistics of made results, by hand and against the functions that they are made of."""

from __future__ import annotations

import math

import pytest

from samunet.benchmarking.comparison import compare, summarise, worst_cases
from samunet.benchmarking.results import Result
from samunet.benchmarking.tables import cases_csv, markdown, summary_rows
from samunet.evaluation.statistics import paired_interval

GROUPS = {"a1": "a", "a2": "a", "b1": "b"}


def case(dice: float, other: float | None = None, hd95: float = 1.0) -> dict:
    values = {"IoU": 0.5, "HD95_mm": hd95, "ASSD_mm": 0.5, "NSD": 0.9, "absolute_volume_error_ml": 0.1}
    return {"1": {"Dice": dice, **values}, "2": {"Dice": dice if other is None else other, **values}}


def result(method: str, *draws: dict, shots: int | None = 5, runs: dict | None = None) -> Result:
    return Result(method, shots, dict(enumerate(draws)), runs or {})


BASE = result("label_prior", {"a1": case(0.5), "a2": case(0.6), "b1": case(0.7)}, {"a1": case(0.4), "b1": case(0.8)})
BETTER = result("head", {"a1": case(0.6), "a2": case(0.7), "b1": case(0.8)}, {"a1": case(0.6), "b1": case(0.9, 1.1)})


def test_mean_weighs_each_draw_the_same() -> None:
    found = summarise(BASE, "Dice", GROUPS)
    assert found.draws == pytest.approx({0: 0.6, 1: 0.6}) and found.interval.mean == pytest.approx(0.6)
    assert found.spread == pytest.approx((0.1 + math.sqrt(0.08)) / 2)
    assert (found.infinite, found.undefined) == (0, 0)


def test_a_class_alone_and_the_mean_over_classes() -> None:
    assert summarise(BETTER, "Dice", GROUPS, label="2").draws[1] == pytest.approx(0.85)
    assert summarise(BETTER, "Dice", GROUPS).draws[1] == pytest.approx(0.8)


def test_infinite_and_undefined_values_are_counted_not_averaged() -> None:
    odd = result("odd", {"a1": case(math.nan, hd95=math.inf), "a2": case(math.nan, 0.5), "b1": case(0.7, hd95=3.0)})
    dice, hd95 = summarise(odd, "Dice", GROUPS), summarise(odd, "HD95_mm", GROUPS)
    assert dice.interval.mean == pytest.approx(0.6) and dice.undefined == 1  # a2 by its one defined class
    assert hd95.interval.mean == pytest.approx(2.0) and hd95.infinite == 1
    assert summarise(result("none", {"a1": case(math.nan)}), "Dice", GROUPS) is None


def test_differences_are_paired_by_case_and_draw() -> None:
    [found] = compare([BASE, BETTER], "label_prior", GROUPS)
    expected = [{"a": [0.1, 0.1], "b": [0.1]}, {"a": [0.2], "b": [0.2]}]
    assert found.interval.mean == pytest.approx(0.15)
    assert found.interval.low == pytest.approx(paired_interval(expected).low)
    assert (found.method, found.reference, found.shots) == ("head", "label_prior", 5)
    assert found.p == 0.5 == found.adjusted  # two patients, both better: 2 of 4 signings are as extreme
    assert found.non_inferior


@pytest.mark.parametrize("reference", ["label_prior", "head"])
def test_a_case_that_is_undefined_on_either_side_is_not_compared(reference: str) -> None:
    # The first case has no Dice with the one method, whichever of them is the reference; the other cases differ by 0.1
    # and 0.3.
    one = result("label_prior", {"a1": case(math.nan), "a2": case(0.6), "b1": case(0.5)})
    other = result("head", {"a1": case(0.9), "a2": case(0.7), "b1": case(0.8)})
    [found] = compare([one, other], reference, GROUPS)
    assert found.interval.mean == pytest.approx(0.2 if reference == "label_prior" else -0.2)


def test_a_reference_is_found_by_its_variant_where_tables_add_to_its_name() -> None:
    marked = Result("head (unlabelled data)", 1, BETTER.cases, {}, variant="head")
    plain = Result("head", None, BETTER.cases, {}, variant="head")
    others = [Result(BASE.method, shots, BASE.cases, {}, variant=BASE.method) for shots in (1, None)]
    found = compare([marked, plain, *others], "head", GROUPS)
    assert [(each.method, each.reference, each.shots) for each in found] == [
        ("label_prior", "head (unlabelled data)", 1), ("label_prior", "head", None)]


def test_holm_counts_the_methods_of_one_number_of_shots() -> None:
    again = [result(name, *BETTER.cases.values()) for name in ("second", "third")]
    other = result("head", *BETTER.cases.values(), shots=1)
    found = compare([BASE, BETTER, *again, other], "label_prior", GROUPS)
    assert [each.method for each in found] == ["head", "second", "third"]
    assert [each.adjusted for each in found] == [1.0, 1.0, 1.0]  # three times 0.5, at most 1


def test_draws_that_only_one_has_are_left_out() -> None:
    short = result("head", BETTER.cases[0])
    [found] = compare([BASE, short], "label_prior", GROUPS)
    assert found.interval.mean == pytest.approx(0.1)
    assert compare([BASE, result("none")], "label_prior", GROUPS) == []


def test_draws_and_methods_without_a_pair_of_defined_values_are_left_out() -> None:
    undefined = {"a1": case(math.nan), "a2": case(math.nan), "b1": case(math.nan)}
    once, never = result("once", undefined, BETTER.cases[1]), result("never", undefined, undefined)
    [found] = compare([BASE, once, never], "label_prior", GROUPS)
    # Of draw 1 alone: 0.6 - 0.4 and 1.0 - 0.8.
    assert found.method == "once" and found.interval.mean == pytest.approx(0.2)
    assert found.p == found.adjusted == 0.5  # nothing is corrected for the one that was not compared


def test_worst_cases_are_named_with_their_mean_over_draws() -> None:
    assert worst_cases(BASE) == [("a1", pytest.approx(0.45)), ("a2", pytest.approx(0.6)), ("b1", pytest.approx(0.75))]


def test_tables() -> None:
    run = {"seconds": {"training": 60.0, "embeddings": 5.0, "validation": 9.0}, "peak_memory_mb": {"resident": 800.0},
           "trainable_parameters": 1234, "train_cases": ["x"] * 5}
    whole = result("head", *BETTER.cases.values(), runs={(0, "1"): run})
    absent = Result("unet", 5, {}, {}, ("unet, fold 0, 5 shots, draw 0: not run",))
    rows = list(summary_rows([whole, absent], compare([BASE, whole], "label_prior", GROUPS), GROUPS))
    assert rows[0]["Dice"].startswith("0.750 [") and rows[0]["draws"] == "0.700, 0.800"
    assert (rows[0]["training s"], rows[0]["validation s"], rows[0]["memory MB"]) == ("65", "9", "800")
    assert (rows[0]["parameters"], rows[0]["labels"], rows[0]["not inferior"]) == ("1,234", "5", "yes")
    assert rows[1] == {"method": "unet", "shots": "5", "Dice": "not run",
                       "why": "unet, fold 0, 5 shots, draw 0: not run"}
    assert markdown(rows, ["method", "draws", "nothing"]) == (
        "| method | draws |\n|---|---|\n| head | 0.700, 0.800 |\n| unet |  |")
    lines = cases_csv([whole]).splitlines()
    assert lines[0] == "method,shots,draw,case,class,Dice,IoU,HD95_mm,ASSD_mm,NSD,absolute_volume_error_ml"
    assert lines[1] == "head,5,0,a1,1,0.6,0.5,1.0,0.5,0.9,0.1" and len(lines) == 1 + 2 * 5


def test_tables_say_how_many_slices_were_labelled() -> None:
    results = [Result("head", shots, {0: {"a1": case(0.5)}}, {}, slices=slices)
               for shots, slices in ((5, 10), (None, 10), (5, 1), (5, None))]
    told = ["5 (10 slices)", "all (10 slices)", "5 (1 slice)", "5"]
    assert [row["shots"] for row in summary_rows(results, [], None)] == told
    assert [line.split(",")[1] for line in cases_csv(results).splitlines()[1::2]] == told
