"""The benchmark's answer in one sentence: which method is best, by how much, and whether that is decided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from samunet.benchmarking.comparison import compare, summarise
from samunet.benchmarking.results import Result
from samunet.evaluation.statistics import Interval

FEWEST_PATIENTS = 6  # with fewer, no signed-rank test can be significant at 0.05


def answers(results: Sequence[Result], reference: str, default_reference: str, groups: Mapping[str, str] | None
            ) -> list[str]:
    """One sentence for each number of labelled cases, in the order of `results`.

    The best mean Dice is compared with `reference`, or with the runner-up where that is the default or the best itself,
    on the cases and draws that both have. It is decided where the 95 % interval of the difference excludes 0, over
    `FEWEST_PATIENTS` patients or more. The best is picked on the same cases, so its lead is slightly too good.

    Arguments:
        reference: the method that the tables compare with.
        default_reference: what `reference` is unless a user names another.
        groups: case -> patient; None if each case is its own patient.
    """
    found = []
    for shots in dict.fromkeys(result.shots for result in results):
        ranked = _ranked([result for result in results if result.shots == shots], groups)
        if ranked:
            named = [result for result in ranked[1:] if result.named(reference) and reference != default_reference]
            found.append(_sentence(ranked[0], next(iter([*named, *ranked[1:2]]), None), groups))
    return found or ["No setting is complete yet."]


def shown_name(method: str) -> str:
    """The method's name in sentences: nnU-Net's `nnunet_2d` is nnU-Net 2d."""
    return method.replace("nnunet_", "nnU-Net ", 1) if method.startswith("nnunet_") else method


def _ranked(results: Sequence[Result], groups: Mapping[str, str] | None) -> list[Result]:
    dice = {result.method: found.interval.mean for result in results
            if result.cases and (found := summarise(result, "Dice", groups))}
    return sorted((result for result in results if result.method in dice), key=lambda result: -dice[result.method])


def _sentence(best: Result, other: Result | None, groups: Mapping[str, str] | None) -> str:
    compared = compare([other, best], other.method, groups) if other is not None else []
    if other is None or not compared:
        found = summarise(best, "Dice", groups)
        assert found is not None
        return (f"{_labelled(best)}, {shown_name(best.method)} reaches Dice {_interval(found.interval)} "
                f"({_counted(len(_cases(best)), 'validation case')}); there is no other method to compare it with.")
    cases = _cases(best) & _cases(other)
    patients = len(cases if groups is None else {groups[case] for case in cases})
    lead = compared[0].interval
    if lead.mean < 0:  # on all of its cases the mean was higher, on the common ones it is not
        best, other, lead = other, best, Interval(-lead.mean, -lead.high, -lead.low)
    one, two, where = shown_name(best.method), shown_name(other.method), _counted(len(cases), "validation case")
    if lead.low > 0 and patients >= FEWEST_PATIENTS:
        return f"{_labelled(best)}, {one} is better than {two} on this data by {_interval(lead)} Dice ({where})."
    why = "an interval that contains 0" if lead.low <= 0 else f"but {patients} patients are too few to decide"
    return (f"{_labelled(best)}, it is undecided whether {one} or {two} is better on this data: {one} is ahead by "
            f"{_interval(lead)} Dice ({where}), {why}.")


def _cases(result: Result) -> set[str]:
    """The cases with a Dice in some draw."""
    return {case for draw in result.cases for case, dice in result.scores(draw, "Dice").items() if not math.isnan(dice)}


def _labelled(result: Result) -> str:
    if result.shots is None:
        return "From all labelled cases" if result.slices is None else f"From {result.slices} labelled slices"
    text = f"From {_counted(result.shots, 'labelled case')}"
    return text if result.slices is None else f"{text} ({_counted(result.slices, 'slice')})"


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _interval(interval: Interval) -> str:
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
