"""Tests of paired differences: Wilcoxon's signed ranks over patients, Holm's correction, non-inferiority."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from scipy.stats import wilcoxon

from samunet.evaluation.statistics import Differences, Interval


def signed_rank(draws: Sequence[Differences]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test (Biometrics Bulletin 1, 1945) that patients' differences are symmetric
    about 0.

    A patient counts once, by the mean of its cases' differences over all draws in which it was tested: cases of one
    patient, and draws that are tested on one patient, are not independent. Differences of 0 are dropped, as Wilcoxon
    did; if all are 0, p is 1. Exact up to 50 patients without ties, else by the normal approximation (scipy's rule).

    Arguments:
        draws: for each draw, patient -> the paired differences of its cases.
    """
    of_patient: dict[str, list[float]] = defaultdict(list)
    for draw in draws:
        for patient, cases in draw.items():
            of_patient[patient].extend(cases)
    means = np.array([np.mean(cases) for cases in of_patient.values()])
    return float(wilcoxon(means).pvalue) if means.any() else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for their number, in the given order (Holm, Scandinavian Journal of Statistics 6, 1979).

    The smallest of m is multiplied by m, the next by m - 1, and so on; none becomes smaller than the one before, none
    exceeds 1. Rejecting those under a level bounds the probability of any false rejection by that level.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(np.asarray(p_values, float)[order] * factors), 1.0)
    given = np.empty_like(adjusted)
    given[order] = adjusted
    return [float(value) for value in given]


def non_inferior(interval: Interval, margin: float) -> bool:
    """Whether the whole interval of first minus second is above -`margin`.

    With a 95 % interval this is a one-sided test at 2.5 %, as usual for non-inferiority (ICH E9, section 3.3.2).

    Arguments:
        margin: the largest irrelevant loss, above 0, chosen before the results are known.
    """
    return interval.low > -margin
