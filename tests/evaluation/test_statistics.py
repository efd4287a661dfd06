from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import bootstrap

from samunet.evaluation.statistics import Interval, paired_differences, paired_interval, resampled_means

MANY = 40_000


def shares(means: np.ndarray) -> dict[float, float]:
    values, counts = np.unique(means.round(9), return_counts=True)
    return dict(zip(values.tolist(), (counts / means.size).tolist(), strict=True))


def test_two_patients_of_one_case_give_0_a_half_and_1_by_quarter_half_and_quarter() -> None:
    draws = [{"a": [0.0], "b": [1.0]}]
    assert shares(resampled_means(draws, MANY, 0)) == pytest.approx({0.0: 0.25, 0.5: 0.5, 1.0: 0.25}, abs=0.01)
    assert paired_interval(draws) == Interval(0.5, 0.0, 1.0)


def test_a_patient_brings_all_of_its_cases() -> None:
    # a, a: 0; a, b: one case of four; b, b: 1.
    draws = [{"a": [0.0, 0.0, 0.0], "b": [1.0]}]
    assert shares(resampled_means(draws, MANY, 0)) == pytest.approx({0.0: 0.25, 0.25: 0.5, 1.0: 0.25}, abs=0.01)
    assert paired_interval(draws).mean == 0.25  # over cases, not over patients


def test_draws_are_resampled_first_and_weigh_the_same() -> None:
    # Draw 0 is 0 or 1 or 2 (quarter, half, quarter) each time it is taken, draw 1 is always 10.
    draws = [{"a": [0.0], "b": [2.0]}, {"c": [10.0]}]
    inner = [{0.0: 0.25, 1.0: 0.5, 2.0: 0.25}, {10.0: 1.0}]
    expected: dict[float, float] = {}
    for one, two in product(inner, inner):
        for (first, p), (second, q) in product(one.items(), two.items()):
            mean = (first + second) / 2
            expected[mean] = expected.get(mean, 0.0) + p * q / 4
    assert expected[10.0] == 0.25 and expected[0.0] == 0.25 / 16  # as by hand
    assert shares(resampled_means(draws, MANY, 0)) == pytest.approx(expected, abs=0.01)
    assert paired_interval(draws).mean == 5.5


def test_one_level_has_scipys_percentile_interval() -> None:
    values = np.random.default_rng(1).normal(0.05, 0.1, 40)
    ours = paired_interval([{str(index): [value] for index, value in enumerate(values)}])
    theirs = bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=np.random.default_rng(2))
    assert ours.mean == pytest.approx(values.mean())
    # The ends vary by about 0.0004 from seed to seed, a fortieth of the mean's standard deviation.
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.0015)


def test_draws_on_the_same_patients_have_the_same_ones_taken() -> None:
    # a, a: 0 and 10; a, b: 1 and 12; b, b: 2 and 14 are the draws' means.
    draws = [{"a": [0.0], "b": [2.0]}, {"b": [14.0], "a": [10.0]}]
    expected: dict[float, float] = {}
    for first, second, p in ((0.0, 10.0, 0.25), (1.0, 12.0, 0.5), (2.0, 14.0, 0.25)):
        for mean, q in ((first, 0.25), ((first + second) / 2, 0.5), (second, 0.25)):
            expected[mean] = expected.get(mean, 0.0) + p * q
    assert expected[5.0] == 0.125 and 5.5 not in expected  # never one draw on a, a and the other on a, b
    assert shares(resampled_means(draws, MANY, 0)) == pytest.approx(expected, abs=0.01)


def test_the_same_draw_again_makes_the_interval_no_narrower() -> None:
    draw = {str(index): [float(index % 5)] for index in range(40)}
    one, four = paired_interval([draw]), paired_interval([draw] * 4)
    assert (four.high - four.low) / (one.high - one.low) == pytest.approx(1.0, abs=0.03)


def test_a_draw_of_which_no_patient_was_taken_stays_as_it_is() -> None:
    # Patients a, b: of a, a (a quarter) the second draw has none.
    draws = [{"a": [0.0], "b": [0.0]}, {"b": [8.0]}]
    assert shares(resampled_means(draws, MANY, 0)) == pytest.approx({0.0: 0.25, 4.0: 0.5, 8.0: 0.25}, abs=0.01)


def test_same_seed_same_interval() -> None:
    draws = [{"a": [0.1, 0.3], "b": [-0.2]}, {"a": [0.4], "c": [0.0]}]
    assert paired_interval(draws, 3) == paired_interval(draws, 3)


def test_differences_are_paired_by_case_and_gathered_by_patient() -> None:
    first, second = {"x": 0.5, "y": 0.75, "z": 1.0}, {"z": 0.5, "y": 0.5, "x": 0.5}
    assert paired_differences(first, second, {"x": "p", "y": "q", "z": "p"}) == {"p": [0.0, 0.5], "q": [0.25]}
    assert paired_differences(first, second, None) == {"x": [0.0], "y": [0.25], "z": [0.5]}


def test_different_cases_or_none_are_refused() -> None:
    with pytest.raises(ValueError, match="'y'"):
        paired_differences({"x": 1.0}, {"x": 1.0, "y": 1.0}, None)
    with pytest.raises(ValueError, match="at least one draw"):
        resampled_means([], 10, 0)
    with pytest.raises(ValueError, match="a case"):
        resampled_means([{"a": []}], 10, 0)
