"""From the trials of a search to its verdict: the chosen variant, its margin and the margin's interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

from samunet.benchmarking.comparison import compare
from samunet.benchmarking.ladder import TRAIN_NOTHING, Length
from samunet.benchmarking.results import Result
from samunet.evaluation.statistics import Interval

COLUMNS = ("variant", "round", "minutes", "Dice", "difference", "why")


@dataclass(frozen=True)
class Trial:
    """One candidate in one round, over all inner folds: `result` has one draw, 0, and is empty if a run failed.

    Round 0 is for candidates without training. `length` is the training length of each of its runs.
    """

    round: int
    result: Result
    length: Length

    @property
    def variant(self) -> str:
        """Name of the candidate."""
        return self.result.variant

    @property
    def scores(self) -> dict[str, float]:
        """Case -> mean foreground Dice, for cases where it is defined."""
        found = self.result.scores(0, "Dice") if self.result.cases else {}
        return {case: value for case, value in sorted(found.items()) if not math.isnan(value)}

    @property
    def dice(self) -> float:
        """Mean over cases; -infinity if there are none."""
        return mean(self.scores.values()) if self.scores else -math.inf

    def seconds(self) -> dict[str, float]:
        """Total time of its runs in seconds, by part."""
        each = [run["seconds"] for run in self.result.runs.values()]
        parts = sorted({part for of_run in each for part in of_run})
        return {part: sum(of_run.get(part, 0.0) for of_run in each) for part in parts}


@dataclass(frozen=True)
class Verdict:
    """The chosen `variant`; `trial` is the deciding one, None if the variant is fixed.

    `margin` is its Dice minus the runner-up's on the same cases; both are None if there is no other candidate, or no
    case in which the Dice of both is defined.
    """

    variant: str
    patients: int
    trial: Trial | None = None
    runner_up: str | None = None
    margin: Interval | None = None

    def __str__(self) -> str:
        if self.trial is None:
            patients = "1 patient is" if self.patients == 1 else f"{self.patients} patients are"
            return f"not cross-validated: {self.variant} is fixed, since {patients} too few"
        text = f"chosen: {self.variant}" + (" (no training)" if self.variant in TRAIN_NOTHING else "")
        text += f", Dice {self.trial.dice:.3f} on {len(self.trial.scores)} held-out cases"
        if self.margin is None:
            return f"{text}, without another candidate to compare with"
        sure = "above 0" if self.margin.low > 0 else "which contains 0: the difference is not significant"
        return f"{text}, {self.margin} against {self.runner_up} (95 % interval over {self.patients} patients, {sure})"


def better_half(trials: Sequence[Trial]) -> list[str]:
    """The variants of the better half, rounded up, best first; ties in the order of naming. Never failed ones."""
    return [trial.variant for trial in _ranked(trials)[: (len(trials) + 1) // 2]]


def decide(trials: Sequence[Trial], patients: int, groups: Mapping[str, str] | None) -> Verdict | None:
    """The best of the last round and of the candidates without training; ties go to the first. None if all failed."""
    last = max((trial.round for trial in trials if trial.scores), default=0)
    ranked = _ranked([trial for trial in trials if trial.round in (0, last)])
    if not ranked:
        return None
    if len(ranked) == 1:
        return Verdict(ranked[0].variant, patients, ranked[0])
    best, second = ranked[:2]
    margin = _difference(best, second, groups)
    return Verdict(best.variant, patients, best, None if margin is None else second.variant, margin)


def differences(trials: Sequence[Trial], chosen: str, groups: Mapping[str, str] | None) -> dict[tuple[int, str],
                                                                                                Interval]:
    """(round, variant) -> its Dice minus the chosen variant's in the same round, or in its last if one has no training.

    Leaves out trials without a case in which the Dice of both is defined.
    """
    found = {}
    own = {trial.round: trial for trial in trials if trial.variant == chosen and trial.scores}
    for trial in trials:
        base = own.get(trial.round, own[max(own)])
        if trial.scores and trial.variant != chosen and (difference := _difference(trial, base, groups)):
            found[trial.round, trial.variant] = difference
    return found


def rows(trials: Sequence[Trial], verdict: Verdict, groups: Mapping[str, str] | None) -> Iterator[dict[str, Any]]:
    """The table's rows: column name -> text. `difference` is against the chosen variant."""
    against = differences(trials, verdict.variant, groups)
    for trial in trials:
        trained = sum(seconds for part, seconds in trial.seconds().items() if part in ("training", "pretraining"))
        yield {
            "variant": trial.variant,
            "round": str(trial.round) if trial.round else "-",
            "minutes": f"{trained / 60:.1f}",
            "Dice": f"{trial.dice:.3f}" if trial.scores else "failed",
            "difference": str(against.get((trial.round, trial.variant), "")),
            "why": "; ".join(fault.strip().splitlines()[-1] for fault in trial.result.missing),
        }


def trials_content(trials: Sequence[Trial], verdict: Verdict, groups: Mapping[str, str] | None) -> list[dict[str, Any]]:
    """The trials as strict JSON, for the record."""
    against = differences(trials, verdict.variant, groups)
    return [{
        "variant": trial.variant,
        "round": trial.round,
        "each_run": asdict(trial.length),
        "seconds": trial.seconds(),
        "Dice": trial.dice if trial.scores else None,
        "cases": trial.scores,
        "against_chosen": _interval_content(against.get((trial.round, trial.variant))),
        "faults": list(trial.result.missing),
    } for trial in trials]


def verdict_content(verdict: Verdict) -> dict[str, Any]:
    """The verdict as strict JSON, for the record."""
    return {
        "variant": verdict.variant,
        "fixed": verdict.trial is None,
        "Dice": verdict.trial.dice if verdict.trial else None,
        "runner_up": verdict.runner_up,
        "against_runner_up": _interval_content(verdict.margin),
        "patients": verdict.patients,
    }


def _difference(trial: Trial, base: Trial, groups: Mapping[str, str] | None) -> Interval | None:
    """Dice of `trial` minus that of `base`; None if no case has both."""
    found = compare([base.result, trial.result], base.result.method, groups)
    return found[0].interval if found else None


def _interval_content(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _ranked(trials: Sequence[Trial]) -> list[Trial]:
    return sorted((trial for trial in trials if trial.scores), key=lambda trial: -trial.dice)
