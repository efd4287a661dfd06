"""The benchmark's statistics: means with intervals, and every method against a reference, paired by case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np

from samunet.benchmark.results import Result
from samunet.evaluation.significance import holm, non_inferior, signed_rank
from samunet.evaluation.statistics import Differences, Interval, paired_differences, paired_interval

MARGIN = 0.02  # of Dice, stated before anything was looked at: about what two readers differ by
WORST = 3


@dataclass(frozen=True)
class Summary:
    """One metric of one method.

    Arguments:
        interval: mean, each draw weighing the same, and its 95 % interval over draws and patients; over finite values.
        spread: standard deviation over cases, the mean of the draws'.
        draws: mean of each draw.
        infinite, undefined: case-draws that the mean leaves out.
    """

    interval: Interval
    spread: float
    draws: dict[int, float]
    infinite: int
    undefined: int


@dataclass(frozen=True)
class Comparison:
    """Dice of one method minus the reference's, on the same cases and draws.

    `p` is Wilcoxon's, `adjusted` Holm's over all methods that were compared at the same number of shots.
    """

    method: str
    reference: str
    shots: int | None
    interval: Interval
    p: float
    adjusted: float
    non_inferior: bool


def summarise(result: Result, metric: str, groups: Mapping[str, str] | None, label: str | None = None) -> Summary | None:
    """The method's figures for `metric`, of class key `label` or the mean over classes; None where nothing is finite."""
    finite, infinite, undefined = {}, 0, 0
    for draw in result.cases:
        scores = result.scores(draw, metric, label)
        infinite += sum(map(math.isinf, scores.values()))
        undefined += sum(map(math.isnan, scores.values()))
        if kept := {case: value for case, value in scores.items() if math.isfinite(value)}:
            finite[draw] = kept
    if not finite:
        return None
    zero = [paired_differences(scores, dict.fromkeys(scores, 0.0), groups) for scores in finite.values()]
    spread = mean(stdev(scores.values()) if len(scores) > 1 else 0.0 for scores in finite.values())
    return Summary(paired_interval(zero), spread, {draw: mean(scores.values()) for draw, scores in finite.items()},
                   infinite, undefined)


def compare(
    results: Sequence[Result], reference: str, groups: Mapping[str, str] | None, margin: float = MARGIN
) -> list[Comparison]:
    """Every other method's Dice against `reference`'s at the same shots, on the draws that both have whole.

    A draw in which no case has a Dice of both counts for nothing; nor does a method that is left with no draw.

    Arguments:
        reference: a method's or a variant's name; where it has no result for a number of shots, nothing is compared there.
        margin: the loss of Dice that would not matter.
    """
    found = []
    for base in results:
        if base.named(reference) and base.cases:
            pairs = {other.method: draws for other in results if other.shots == base.shots and other is not base
                     if (draws := _pairs(other, base, groups))}
            p_values = {method: signed_rank(draws) for method, draws in pairs.items()}
            adjusted = dict(zip(p_values, holm(list(p_values.values())), strict=True))
            for method, draws in pairs.items():
                interval = paired_interval(draws)
                found.append(Comparison(method, base.method, base.shots, interval, p_values[method], adjusted[method],
                                        non_inferior(interval, margin)))
    return found


def worst_cases(result: Result) -> list[tuple[str, float]]:
    """The cases with the lowest Dice, the mean over the draws that have them."""
    values: dict[str, list[float]] = {}
    for draw in result.cases:
        for case, value in result.scores(draw, "Dice").items():
            if not math.isnan(value):
                values.setdefault(case, []).append(value)
    return sorted(((case, float(np.mean(each))) for case, each in values.items()), key=lambda item: item[1])[:WORST]


def _pairs(first: Result, second: Result, groups: Mapping[str, str] | None) -> list[Differences]:
    """Paired differences of each draw that both have; a case that is undefined in either is left out, and so is an empty draw."""
    pairs: list[Differences] = []
    for draw in sorted(first.cases.keys() & second.cases.keys()):
        one, other = first.scores(draw, "Dice"), second.scores(draw, "Dice")
        both = [case for case in one if case in other and not math.isnan(one[case]) and not math.isnan(other[case])]
        if both:
            pairs.append(paired_differences({case: one[case] for case in both}, {case: other[case] for case in both}, groups))
    return pairs
