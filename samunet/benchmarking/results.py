"""The results of finished jobs: every metric of every class of every case, by draw, and the records of the runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from samunet.benchmarking.jobs import Benchmark, Job
from samunet.dataset.paths import Paths
from samunet.evaluation.report import number_of, read_metrics, read_summary
from samunet.inference.run_file import RecordedEncoder, read_run
from samunet.preprocessing.prompts.kinds import oracle_name

Cases = dict[str, dict[str, dict[str, float]]]
"""Case -> class key -> metric -> value; NaN if undefined, infinity if one of the masks is empty."""

METRICS = ("Dice", "IoU", "HD95_mm", "ASSD_mm", "NSD", "absolute_volume_error_ml")


@dataclass(frozen=True)
class _JobSettings:
    seed: int | str  # "none" for nnU-Net
    oracle_prompts: str | None = None
    box_relax: float | None = None


@dataclass(frozen=True)
class _JobHardware:
    device: str


@dataclass(frozen=True)
class JobRecord:
    """The part of run.json that a benchmark needs, of samunet's runs and nnU-Net's."""

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
        method: its name in tables: a variant's name, followed by `(oracle <kind>)` if its prompts came from the
            reference
            labels; nnU-Net's configuration as `nnunet_2d`; or the name of an imported model's folder.
        shots: None for all cases.
        cases: draw -> the cases of all its finished folds.
        runs: (draw, fold) -> the content of run.json; empty for an imported model.
        missing: the missing results, in words.
        segmentations: draw -> case -> the folder of its predicted segmentation, for cases that have one.
        variant: the variant's name; empty for an imported model.
        slices: total number of labelled slices; None for all. The same for all results of a benchmark.
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
        """The amount of training data, as shown in tables."""
        return shots_text(self.shots, self.slices)

    def named(self, name: str) -> bool:
        """Whether `name` is its name in tables or its variant's; tables may extend a variant's name, at some shots."""
        return name in (self.method, self.variant)

    def scores(self, draw: int, metric: str, label: str | None = None) -> dict[str, float]:
        """Case -> value of `metric` for class key `label`, or the mean over classes; NaN if it is undefined in all."""
        return {case: _mean([values.get(metric, math.nan) for key, values in classes.items() if label in (None, key)])
                for case, classes in self.cases[draw].items()}

    def labels(self) -> list[str]:
        """Class keys, in dataset.json's order."""
        return list(next(iter(next(iter(self.cases.values())).values()))) if self.cases else []


def shots_text(shots: int | None, slices: int | None) -> str:
    """`all`, or the number; followed by `(10 slices)` if the number of labelled slices is limited."""
    text = "all" if shots is None else str(shots)
    return text if slices is None else f"{text} ({slices} slice{'' if slices == 1 else 's'})"


def gather(benchmark: Benchmark, paths: Paths, faults: Mapping[Job, str], file_ending: str) -> list[Result]:
    """One result for each variant and number of shots, in the order of the jobs.

    A draw counts only if all its folds are finished, because means over different cases cannot be compared.

    Arguments:
        faults: the errors of jobs without a finished run, where known.
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
    """The variant's name in tables.

    `sam_zeroshot (oracle point)` if the prompts of a run came from the reference labels, `hybrid_selftrain (unlabelled
    data)` if a run also trained on pseudo-labelled cases.
    """
    runs = list(runs)
    oracles = [run["settings"] for run in runs if run["settings"].get("oracle_prompts")]
    kinds = sorted({oracle_name(settings["oracle_prompts"], settings.get("box_relax")) for settings in oracles})
    unlabelled = " (unlabelled data)" if any(run.get("pseudo_labelled_cases") for run in runs) else ""
    return variant + (f" (oracle {', '.join(kinds)})" if kinds else "") + unlabelled


def read_cases(validation: Path, file_ending: str) -> Cases:
    """The cases of a folder's summary.json, with the metrics of metrics.json if it exists (nnU-Net writes none).

    Raises:
        UserError: a file without the scores of cases.
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
    # The path may be of another machine; the Windows path class accepts both separators.
    return PureWindowsPath(row["reference_file"]).name.removesuffix(file_ending)


def _mean(values: Sequence[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return float(np.mean(defined)) if defined else math.nan
