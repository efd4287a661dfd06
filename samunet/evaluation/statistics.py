"""Paired bootstrap intervals of a mean difference over draws and patients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000
CONFIDENCE = 0.95

Differences = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def paired_differences(
    first: Mapping[str, float], second: Mapping[str, float], groups: Mapping[str, str] | None
) -> dict[str, list[float]]:
    """Patient -> `first` minus `second` of each of its cases, cases sorted by name.

    Arguments:
        first, second: a score of each case, by name; of the same cases.
        groups: case -> patient; None if each case is its own patient.

    Raises:
        ValueError: the two have different cases.
    """
    if first.keys() != second.keys():
        raise ValueError(f"scores of different cases cannot be paired: {sorted(first.keys() ^ second.keys())}")
    differences: dict[str, list[float]] = defaultdict(list)
    for case in sorted(first):
        differences[case if groups is None else groups[case]].append(first[case] - second[case])
    return dict(differences)


def paired_interval(draws: Sequence[Differences], seed: int = 0) -> Interval:
    """The mean difference, each draw weighing the same and within a draw each case, with its 95 % interval.

    The percentile interval (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13) of
    `resampled_means`. It includes the choice of training cases and the choice of test patients.

    Arguments:
        draws: for each draw, patient -> the paired differences of its cases.
        seed: of NumPy's default generator.
    """
    mean = float(np.mean([np.concatenate([np.asarray(cases) for cases in draw.values()]).mean() for draw in draws]))
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled_means(draws, RESAMPLES, seed), (tail, 1 - tail))
    return Interval(mean, float(low), float(high))


def resampled_means(draws: Sequence[Differences], resamples: int, seed: int) -> np.ndarray:
    """Mean differences float64 (resamples,) of a bootstrap over draws and patients.

    Each resample takes as many draws as there are, with replacement, and as many patients as there are, with
    replacement; a patient brings all of its cases. Draws that are tested on the same patients have the same ones taken
    (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1, 2007): a patient who is hard for one model is hard
    for the next. Draws without common patients are resampled independently. Davison and Hinkley (Bootstrap Methods
    and their Application, 1997, section 3.8) compare this with resampling only the top level; both levels is the more
    cautious choice.

    Raises:
        ValueError: no draw, or a draw without a case.
    """
    if not draws or not all(draw and all(len(cases) for cases in draw.values()) for draw in draws):
        raise ValueError("a bootstrap needs at least one draw, and a case of every patient in each")
    random = np.random.default_rng(seed)
    chosen = random.integers(len(draws), size=(resamples, len(draws)))
    patients = sorted({patient for draw in draws for patient in draw})
    if len(patients) < sum(map(len, draws)):
        return _of_common_patients(draws, patients, chosen, random)
    means = np.empty(chosen.shape)
    for index, draw in enumerate(draws):
        sums, counts = _sums_and_counts(draw)
        places = chosen == index
        taken = random.integers(len(draw), size=(int(places.sum()), len(draw)))
        means[places] = sums[taken].sum(axis=1) / counts[taken].sum(axis=1)
    averaged: np.ndarray = means.mean(axis=1)
    return averaged


def _of_common_patients(
    draws: Sequence[Differences], patients: Sequence[str], chosen: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Mean differences (resamples,) of the draws `chosen` (resamples, draws), all on a resample's patients."""
    taken = random.multinomial(len(patients), np.full(len(patients), 1 / len(patients)), size=len(chosen))
    means = np.empty(chosen.shape)
    for index, draw in enumerate(draws):
        sums, counts = _sums_and_counts(draw)
        times = taken[:, [patients.index(patient) for patient in draw]]
        cases = times @ counts
        # A draw may lack patients; if none of its own was resampled, its mean stays as it is.
        means[:, index] = np.where(cases > 0, times @ sums / np.maximum(cases, 1), sums.sum() / counts.sum())
    averaged: np.ndarray = np.take_along_axis(means, chosen, axis=1).mean(axis=1)
    return averaged


def _sums_and_counts(draw: Differences) -> tuple[np.ndarray, np.ndarray]:
    """Of each patient: the sum of its cases' differences, and its number of cases."""
    return np.array([np.sum(cases) for cases in draw.values()],
                    float), np.array([len(cases) for cases in draw.values()], float)
