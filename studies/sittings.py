"""Jobs over several sittings: one JSON line a job that has ended, and a job that has a line is not run again.

A line holds its `key`, what makes two jobs the same, its scores, and the core-hours that it took. Lines of several
machines add up in one file, also where the folders of results are gone.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

from samunet.benchmarking.jobs import NNUNET, TRAINED_BY, Benchmark, Job
from samunet.benchmarking.nnunet import run_nnunet
from samunet.dataset.paths import Paths
from samunet.evaluation.statistics import Interval, paired_differences, paired_interval
from samunet.training.run import ensure_trained

Scores = Mapping[str, float]  # case -> Dice
Jobs = Mapping[tuple[int, str], Scores]  # (draw, fold) -> the scores of its validation cases


@dataclass(frozen=True)
class Key:
    """What makes two jobs the same.

    `shots` is None for all cases of the fold, `minutes` for rows that train nothing or for a number of iterations.
    """

    dataset: str
    encoder: str
    row: str
    shots: int | None
    minutes: float | None
    fold: str
    draw: int


def stored(path: Path) -> dict[Key, dict[str, Any]]:
    """The lines of earlier jobs; of a job that has several, the last."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {Key(**record["key"]): record for record in map(json.loads, lines)}


def core_seconds() -> float:
    """Processor time of this process and of those that it has started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def trained(benchmark: Benchmark, job: Job, settings: Mapping[str, Any], paths: Paths) -> Path:
    """Train and validate one job in this process, unless it is finished; returns the folder of its fold.

    `settings` are the variant's; nnU-Net has none.
    """
    if job.variant.startswith(NNUNET):
        run_nnunet(benchmark, job, paths)
    else:
        request = replace(benchmark.request(job), settings=dict(settings))
        ensure_trained(request, paths, trained_by=TRAINED_BY, workers=1)
    return benchmark.folder(job, paths)


def dice_of(jobs: Jobs) -> float:
    """Mean over draws of the mean over the cases of all folds."""
    return mean(mean(_of_draw(jobs, draw).values()) for draw in _draws(jobs))


def gain_of(jobs: Jobs, others: Jobs, groups: Mapping[str, str] | None) -> Interval | None:
    """`jobs` minus `others` on the draws and folds that both have; None, where they have none in common."""
    common = sorted(jobs.keys() & others.keys())
    if not common:
        return None
    return paired_interval([paired_differences(_of_draw({each: jobs[each] for each in common}, draw),
                                               _of_draw({each: others[each] for each in common}, draw), groups)
                            for draw in _draws(common)])


def _draws(jobs: Iterable[tuple[int, str]]) -> Sequence[int]:
    return sorted({draw for draw, _ in jobs})


def _of_draw(jobs: Jobs, draw: int) -> Scores:
    """The cases of all folds of a draw, which have none in common."""
    return {case: dice for (number, _), cases in jobs.items() if number == draw for case, dice in cases.items()}
