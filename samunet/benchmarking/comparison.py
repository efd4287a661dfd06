"""The benchmark's statistics: means with intervals, and every method against a reference, paired by case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np

from samunet.benchmarking.results import Result
from samunet.evaluation.significance import holm, non_inferior, signed_rank
from samunet.evaluation.statistics import Differences, Interval, paired_differences, paired_interval

MARGIN = 0.02  # in Dice, fixed before any result was seen: about the difference between two readers
WORST = 3
REFERENCE = "label_prior"  # what methods are compared with by default


@dataclass(frozen=True)
class Summary:
    """One metric of one method.

    Arguments:
        interval: mean of the finite values, all draws weighted equally, with its 95 % interval over draws and patients.
        spread: standard deviation over cases, averaged over draws.
        draws: mean of each draw.
        infinite, undefined: number of values, over cases and draws, that the mean leaves out.
    """

    interval: Interval
    spread: float
    draws: dict[int, float]
    infinite: int
    undefined: int


@dataclass(frozen=True)
class Comparison:
    """Dice of one method minus the reference's, on the same cases and draws.

    `p` is of Wilcoxon's signed-rank test, `adjusted` is Holm's correction over all methods at the same number of shots.
    """

    method: str
    reference: str
    shots: int | None
    interval: Interval
    p: float
    adjusted: float
    non_inferior: bool


def summarise(result: Result, metric: str, groups: Mapping[str, str] | None,
              label: str | None = None) -> Summary | None:
    """The method's summary of `metric`, for class key `label` or the mean over classes; None if no value is finite."""
    finite, infinite, undefined = {}, 0, 0
    for draw in result.cases:
        scores = result.scores(draw, metric, label)
        infinite += sum(map(math.isinf, scores.values()))
        undefined += sum(map(math.isnan, scores.values()))
        if of_draw := {case: value for case, value in scores.items() if math.isfinite(value)}:
            finite[draw] = of_draw
    if not finite:
        return None
    zero = [paired_differences(scores, dict.fromkeys(scores, 0.0), groups) for scores in finite.values()]
    spread = mean(stdev(scores.values()) if len(scores) > 1 else 0.0 for scores in finite.values())
    return Summary(paired_interval(zero), spread, {draw: mean(scores.values()) for draw, scores in finite.items()},
                   infinite, undefined)


def compare(
    results: Sequence[Result], reference: str, groups: Mapping[str, str] | None, margin: float = MARGIN
) -> list[Comparison]:
    """Compare every method's Dice with `reference`'s at the same shots, on the draws that both have completely.

    Leaves out draws in which no case has a Dice of both, and methods without a remaining draw.

    Arguments:
        reference: a method's or a variant's name; there is no comparison at shots where it has no result.
        margin: the loss of Dice that is considered irrelevant.
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
    """The cases with the lowest Dice, averaged over the draws that have them."""
    values: dict[str, list[float]] = {}
    for draw in result.cases:
        for case, value in result.scores(draw, "Dice").items():
            if not math.isnan(value):
                values.setdefault(case, []).append(value)
    return sorted(((case, float(np.mean(each))) for case, each in values.items()), key=lambda item: item[1])[:WORST]


def _pairs(first: Result, second: Result, groups: Mapping[str, str] | None) -> list[Differences]:
    """Paired differences of each draw that both have, without undefined cases and empty draws."""
    pairs: list[Differences] = []
    for draw in sorted(first.cases.keys() & second.cases.keys()):
        one, other = first.scores(draw, "Dice"), second.scores(draw, "Dice")
        both = [case for case in one if case in other and not math.isnan(one[case]) and not math.isnan(other[case])]
        if both:
            pairs.append(paired_differences({case: one[case] for case in both}, {case: other[case] for case in both},
                                            groups))
    return pairs
