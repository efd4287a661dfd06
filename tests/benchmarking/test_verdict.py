"""Verdicts on made trials: who goes on, who is chosen, by how much, how sure."""

from __future__ import annotations

import math

import pytest

from samunet.benchmarking.ladder import Length
from samunet.benchmarking.results import Result
from samunet.benchmarking.tables import markdown
from samunet.benchmarking.verdict import COLUMNS, Trial, Verdict, better_half, decide, differences, rows, trials_content


def trial(number: int, variant: str, *dice: float, fault: str | None = None) -> Trial:
    """Cases c0, c1, ... of one class; two runs of 60 and 30 s."""
    cases = {f"c{index}": {"1": {"Dice": value}} for index, value in enumerate(dice)}
    runs = {(0, "0"): {"seconds": {"training": 60.0, "validation": 5.0}}, (0, "1"): {"seconds": {"training": 30.0}}}
    return Trial(number, Result(variant, 5, {0: cases} if cases else {}, runs, (fault,) if fault else (),
                                variant=variant),
                 Length(iterations=3))


def test_the_better_half_is_rounded_up_and_the_first_named_wins_ties() -> None:
    tried = [trial(1, "a", 0.5), trial(1, "b", 0.7), trial(1, "c", 0.7), trial(1, "d", 0.6), trial(1, "e", 0.1)]
    assert better_half(tried) == ["b", "c", "d"]
    assert better_half(tried[:4]) == ["b", "c"] and better_half(tried[:1]) == ["a"]


def test_who_failed_never_continues_but_counts_in_the_half() -> None:
    failed = trial(1, "b", fault="killed")
    assert better_half([trial(1, "a", 0.1), failed, trial(1, "c", 0.2), trial(1, "d", 0.3)]) == ["d", "c"]
    assert better_half([failed, trial(1, "nowhere", math.nan)]) == []


def test_the_last_round_decides_with_those_that_train_nothing() -> None:
    # linear_head was best in round 1, and lost in round 2.
    trials = [trial(0, "atlas", 0.5, 0.5, 0.5), trial(1, "linear_head", 0.9, 0.9, 0.9),
              trial(1, "cnn_head", 0.8, 0.8, 0.8),
              trial(2, "linear_head", 0.6, 0.6, 0.6), trial(2, "cnn_head", 0.7, 0.8, 0.6)]
    verdict = decide(trials, 3, None)
    assert (verdict.variant, verdict.runner_up, verdict.trial) == ("cnn_head", "linear_head", trials[-1])
    # Differences 0.1, 0.2, 0: a resample of three is 0 throughout with a chance of 1/27, above the tail of 2.5 %.
    assert verdict.margin.mean == pytest.approx(0.1) and verdict.margin.low == pytest.approx(0)
    assert str(verdict) == (f"chosen: cnn_head, Dice 0.700 on 3 held-out cases, {verdict.margin} against linear_head "
                            "(95 % interval over 3 patients, which contains 0: the difference is not significant)")


def test_a_clear_lead_of_one_without_training_is_reported() -> None:
    trials = [trial(0, "atlas", 0.9, 0.8, 0.7), trial(1, "linear_head", 0.6, 0.5, 0.4)]
    verdict = decide(trials, 3, None)
    assert str(verdict) == ("chosen: atlas (no training), Dice 0.800 on 3 held-out cases, +0.300 [+0.300, +0.300] "
                            "against linear_head (95 % interval over 3 patients, above 0)")


def test_patients_are_resampled_with_all_their_cases() -> None:
    trials = [trial(1, "a", 0.6, 0.8, 0.5), trial(1, "b", 0.5, 0.7, 0.5)]
    verdict = decide(trials, 2, {"c0": "p", "c1": "p", "c2": "q"})
    # Both draws of patient p: 0.1; both of q: 0; one of each: (0.1 + 0.1 + 0) / 3.
    assert (verdict.margin.low, verdict.margin.high) == pytest.approx((0, 0.1))


def test_a_single_candidate_and_failed_ones() -> None:
    alone = decide([trial(1, "a", 0.5), trial(1, "b", fault="killed")], 3, None)
    assert (alone.variant, alone.runner_up, alone.margin) == ("a", None,
                                                              None) and "without another candidate" in str(alone)
    assert decide([trial(1, "b", fault="killed")], 3, None) is None
    # A last round that failed altogether leaves the one before to decide.
    trials = [trial(1, "a", 0.5), trial(1, "b", 0.6), trial(2, "a", fault="killed"), trial(2, "b", fault="killed")]
    assert decide(trials, 3, None).variant == "b"


def test_those_without_a_common_case_are_ranked_and_not_compared() -> None:
    trials = [trial(1, "a", 0.5, math.nan), trial(1, "b", math.nan, 0.4)]
    verdict = decide(trials, 2, None)
    assert (verdict.variant, verdict.runner_up, verdict.margin) == ("a", None, None)
    assert differences(trials, "a", None) == {}
    assert [row["difference"] for row in rows(trials, verdict, None)] == ["", ""]


def test_differences_are_against_the_chosen_in_the_same_round() -> None:
    trials = [trial(0, "atlas", 0.5), trial(1, "a", 0.6), trial(1, "b", 0.4), trial(2, "a", 0.8)]
    found = differences(trials, "a", None)
    assert {key: round(value.mean, 3) for key, value in found.items()} == {(0, "atlas"): -0.3, (1, "b"): -0.2}
    of_atlas = differences(trials, "atlas", None)
    assert round(of_atlas[2, "a"].mean, 3) == 0.3 and (0, "atlas") not in of_atlas


def test_table_and_record() -> None:
    trials = [trial(1, "a", 0.6), trial(1, "b", fault="Traceback\nValueError: no")]
    verdict = decide(trials, 1, None)
    assert markdown(list(rows(trials, verdict, None)), COLUMNS) == (
        "| variant | round | minutes | Dice | why |\n|---|---|---|---|---|\n"
        "| a | 1 | 1.5 | 0.600 |  |\n| b | 1 | 1.5 | failed | ValueError: no |")
    first, second = trials_content(trials, verdict, None)
    assert first["cases"] == {"c0": 0.6} and first["seconds"] == {"training": 90.0, "validation": 5.0}
    assert first["each_run"] == {"iterations": 3, "minutes": None} and second["Dice"] is None


@pytest.mark.parametrize(("patients", "subject"), [(1, "1 patient is"), (2, "2 patients are")])
def test_a_fixed_variant_is_not_called_chosen(patients: int, subject: str) -> None:
    assert str(Verdict("hybrid", patients)) == f"not cross-validated: hybrid is fixed, since {subject} too few"
