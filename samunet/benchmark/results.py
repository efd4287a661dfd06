"""What finished jobs reached: every metric of every class of every case, by draw, and the runs' own records."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from samunet.benchmark.jobs import Benchmark, Job
from samunet.dataset.paths import Paths
from samunet.evaluation.report import number_of, read_metrics, read_summary
from samunet.inference.run_file import RecordedEncoder, read_run
from samunet.preprocessing.prompts.kinds import oracle_told

Cases = dict[str, dict[str, dict[str, float]]]
"""Case -> class key -> metric -> value; NaN undefined, infinity where one of the masks is empty."""

METRICS = ("Dice", "IoU", "HD95_mm", "ASSD_mm", "NSD", "absolute_volume_error_ml")


@dataclass(frozen=True)
class _JobSettings:
    seed: int | str  # nnU-Net has none, in a word
    oracle_prompts: str | None = None
    box_relax: float | None = None


@dataclass(frozen=True)
class _JobHardware:
    device: str


@dataclass(frozen=True)
class JobRecord:
    """What a benchmark reads of a finished run, samunet's or nnU-Net's."""

    settings: _JobSettings
    seconds: dict[str, float]
    train_cases: list[str]
    trainable_parameters: int
    threads: int
    versions: dict[str, str]
    hardware: _JobHardware
    encoder: RecordedEncoder
    peak_memory_mb: dict[str, float] = field(default_factory=dict)
    pseudo_labelled_cases: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Result:
    """One method at one number of shots.

    Arguments:
        method: what tables call it: a variant's name, with `(oracle <kind>)` behind it where it was told of the ground truth;
            nnU-Net's configuration as `nnunet_2d`; or the name of an imported model's folder.
        shots: None for all cases.
        cases: draw -> the cases of all its finished folds.
        runs: (draw, fold) -> the content of run.json; none of an imported model.
        missing: what was asked for and is not there, in words.
        segmentations: draw -> case -> the folder that holds its predicted segmentation, for cases that have one.
        variant: the name that its jobs have; empty of an imported model, which has none.
        slices: labelled slices in all; None for all of the cases. One number for all results of a benchmark.
    """

    method: str
    shots: int | None
    cases: dict[int, Cases]
    runs: dict[tuple[int, str], dict[str, Any]]
    missing: tuple[str, ...] = field(default=())
    segmentations: dict[int, dict[str, Path]] = field(default_factory=dict)
    variant: str = ""
    slices: int | None = None

    @property
    def labelled(self) -> str:
        """What it learned from, as tables tell it."""
        return shots_told(self.shots, self.slices)

    def named(self, name: str) -> bool:
        """Whether it is what a user calls `name`: tables may add to a variant's name, at some numbers of shots alone."""
        return name in (self.method, self.variant)

    def scores(self, draw: int, metric: str, label: str | None = None) -> dict[str, float]:
        """Case -> value of `metric` for class key `label`, or the mean over classes where it is defined; NaN where in none."""
        return {case: _mean([values.get(metric, math.nan) for key, values in classes.items() if label in (None, key)])
                for case, classes in self.cases[draw].items()}

    def labels(self) -> list[str]:
        """Class keys, in dataset.json's order."""
        return list(next(iter(next(iter(self.cases.values())).values()))) if self.cases else []


def shots_told(shots: int | None, slices: int | None) -> str:
    """`all`, or the number; behind it, where labelled slices were counted, `(10 slices)`."""
    told = "all" if shots is None else str(shots)
    return told if slices is None else f"{told} ({slices} slice{'' if slices == 1 else 's'})"


def gather(benchmark: Benchmark, paths: Paths, faults: Mapping[Job, str], file_ending: str) -> list[Result]:
    """One result for each variant and number of shots that was asked for, in the order of the jobs.

    A draw counts only if all its folds are finished: means over other cases could not be compared.

    Arguments:
        faults: why jobs have no finished run, where that is known.
        file_ending: of segmentations, as in dataset.json.
    """
    settings: dict[tuple[str, int | None], list[Job]] = {}
    for job in benchmark.jobs():
        settings.setdefault((job.variant, job.shots), []).append(job)
    return [_result(benchmark, paths, variant, shots, jobs, faults, file_ending)
            for (variant, shots), jobs in settings.items()]


def _result(
    benchmark: Benchmark, paths: Paths, variant: str, shots: int | None, jobs: Sequence[Job], faults: Mapping[Job, str],
    file_ending: str,
) -> Result:
    runs, missing = {}, []
    cases: dict[int, Cases] = {}
    segmentations: dict[int, dict[str, Path]] = {}
    for job in jobs:
        folder = benchmark.folder(job, paths)
        if (folder / "run.json").is_file() and job not in faults:
            runs[job.draw, job.fold] = read_run(folder / "run.json", JobRecord)
        else:
            missing.append(f"{job}: {faults.get(job, 'not run').strip().splitlines()[-1]}")
    for draw in sorted({job.draw for job in jobs}):
        of_draw = [job for job in jobs if job.draw == draw]
        if all((draw, job.fold) in runs for job in of_draw):
            cases[draw], segmentations[draw] = {}, {}
            for job in of_draw:
                folder = benchmark.folder(job, paths) / "validation"
                of_fold = read_cases(folder, file_ending)
                cases[draw] |= of_fold
                segmentations[draw] |= dict.fromkeys(of_fold, folder)
    return Result(marked(variant, runs.values()), shots, cases, runs, tuple(missing), segmentations, variant,
                  benchmark.shot_slices)


def marked(variant: str, runs: Iterable[Mapping[str, Any]]) -> str:
    """The variant's name as tables show it: `sam_zeroshot (oracle point)` where a run was told of the ground truth,
    `hybrid_selftrain (unlabelled data)` where one learned from unlabelled cases as if they were labelled."""
    runs = list(runs)
    told = [run["settings"] for run in runs if run["settings"].get("oracle_prompts")]
    kinds = sorted({oracle_told(settings["oracle_prompts"], settings.get("box_relax")) for settings in told})
    unlabelled = " (unlabelled data)" if any(run.get("pseudo_labelled_cases") for run in runs) else ""
    return variant + (f" (oracle {', '.join(kinds)})" if kinds else "") + unlabelled


def read_cases(validation: Path, file_ending: str) -> Cases:
    """The cases of a folder's summary.json, with metrics.json's where that is there, as nnU-Net has none.

    Raises:
        UserError: a file that does not hold the scores of cases.
    """
    surface: Cases = {}
    if (validation / "metrics.json").is_file():
        surface = {_name(row, file_ending): {key: {name: number_of(value) for name, value in values.items()}
                                for key, values in row["metrics"].items()}
                   for row in read_metrics(validation / "metrics.json")["metric_per_case"]}
    return {
        _name(row, file_ending): {key: {**values, **surface.get(_name(row, file_ending), {}).get(key, {})}
                     for key, values in row["metrics"].items() if key != "0"}
        for row in read_summary(validation / "summary.json")["metric_per_case"]
    }


def _name(row: Mapping[str, Any], file_ending: str) -> str:
    # The path may be of another machine; Windows' rule knows both separators.
    return PureWindowsPath(row["reference_file"]).name.removesuffix(file_ending)


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan
