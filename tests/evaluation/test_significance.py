from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wilcoxon

from samunet.evaluation.significance import holm, non_inferior, signed_rank
from samunet.evaluation.statistics import Interval


def test_signed_rank_by_hand() -> None:
    # Ranks 1, 2, 3, 4 with signs -, +, +, +: the smaller sum is 1, and of the 16 signings those with a sum of 0 or 1
    # are two; as many at the other end: p = 4 / 16.
    assert signed_rank([{"a": [-0.1], "b": [0.2], "c": [0.3], "d": [0.4]}]) == pytest.approx(0.25)


def test_a_patient_counts_once_over_cases_and_draws() -> None:
    together = [{"a": [-0.3, 0.1], "b": [0.1]}, {"b": [0.3], "c": [0.3], "d": [0.4]}]
    assert signed_rank(together) == signed_rank([{"a": [-0.1], "b": [0.2], "c": [0.3], "d": [0.4]}])


def test_no_difference_at_all_is_p_1() -> None:
    assert signed_rank([{"a": [0.0], "b": [0.0]}]) == 1.0


def test_equal_to_scipy() -> None:
    differences = np.random.default_rng(0).normal(0.02, 0.05, 38)
    ours = signed_rank([{str(index): [value] for index, value in enumerate(differences)}])
    assert ours == wilcoxon(differences).pvalue


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.04: times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.04, and none falls again.
    assert holm([0.02, 0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.06, 0.04, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_holm_as_r_has_it() -> None:
    # R: p.adjust(c(0.001, 0.008, 0.039, 0.041, 0.042), "holm").
    assert holm([0.001, 0.008, 0.039, 0.041, 0.042]) == pytest.approx([0.005, 0.032, 0.117, 0.117, 0.117])


def test_non_inferior_only_if_the_whole_interval_is_above_the_margin() -> None:
    assert non_inferior(Interval(0.0, -0.019, 0.02), 0.02)
    assert not non_inferior(Interval(0.03, -0.02, 0.08), 0.02)
