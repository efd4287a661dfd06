"""Evaluate a folder of predicted segmentations against a folder of references, case by case, on the original grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samunet import files
from samunet.console import progress, say
from samunet.dataset.alignment import PREDICTION
from samunet.dataset.folder_listing import broken_links, list_folder
from samunet.dataset.geometry import Geometry
from samunet.dataset.io.readers import reader_named
from samunet.dataset.labels import LabelSpace
from samunet.dataset.segmentations import read_on_grid, value_problems
from samunet.errors import UserError, joined, some
from samunet.evaluation.case_metrics import CaseMetrics, case_metrics
from samunet.evaluation.expected import workers_for
from samunet.evaluation.report import metrics_content, metrics_path, summary_content, write_summary
from samunet.locks import lock_beside, owned
from samunet.workers import each_case

TOLERANCE_MM = 1.0


def evaluate_folder(
    reference: Path,
    prediction: Path,
    labels: LabelSpace,
    file_ending: str,
    reader: str,
    output: Path | None,
    workers: int,
    tolerance_mm: float = TOLERANCE_MM,
    names: Sequence[str] | None = None,
    shown_prediction_folder: Path | None = None,
    other_values: bool = False,
    chill: bool = False,
) -> dict[str, Any]:
    """Write nnU-Net's summary.json and, next to it, metrics.json (see `samunet.evaluation.report`).

    Whole volumes are compared, empty slices and empty cases included. Millimetres are those of the reference file.

    Arguments:
        reference, prediction: folders with <case><file_ending>, files or, where it is "/", folders of frames.
        reader: a reader-writer's name.
        output: the summary's path, ending in .json; default <prediction>/summary.json.
        tolerance_mm: of NSD.
        names: evaluate only these cases; default: every file of `reference`.
        shown_prediction_folder: written into the files instead of `prediction`, if that is temporary.
        other_values: files may hold values that are not in `labels`; they are evaluated as no class.
        chill: evaluate the cases that have a prediction, and report the others.

    Returns:
        The content of summary.json: `foreground_mean`, `mean` by class key and `metric_per_case`, sorted by file name.

    Raises:
        UserError: a folder or files are missing (all are named, nothing is written), a file cannot be read, a
            prediction is on another grid than its reference (see `alignment.on_grid`), either holds values that are not
            in `labels`, no case has a prediction, the output place is not writable, another process evaluates into it,
            or no pair fits into memory.
    """
    output = Path(output) if output is not None else Path(prediction) / "summary.json"
    if output.suffix != ".json":
        raise UserError("The output file must end with .json.", where=output, mend="Name it summary.json, for example.")
    if not labels.foreground:
        raise UserError("`labels` in dataset.json must name a label besides the background.", found=repr(labels.names))
    pairs = _find_pairs(Path(reference), Path(prediction), file_ending, names, chill)
    files.require_writable(output.parent)
    workers = workers_for([pair[0] for pair in pairs], output.parent, workers)
    jobs = [_Job(*pair, reader, labels, tolerance_mm, other_values) for pair in pairs]
    with owned(lock_beside(output), output):
        return _evaluated(jobs, output, workers, shown_prediction_folder)


def _evaluated(
    jobs: Sequence[_Job], output: Path, workers: int, shown_prediction_folder: Path | None
) -> dict[str, Any]:
    """Measure every pair and write both files."""
    finished = each_case(_evaluate_case, jobs, [job.reference.name for job in jobs], workers)
    measured: dict[str, CaseMetrics] = {}
    faults: dict[str, UserError] = {}
    for name, outcome in progress(finished, "evaluating", len(jobs)):
        if isinstance(outcome, UserError):
            faults[name] = outcome
        else:
            measured[name] = outcome
    if faults:
        raise joined([faults[name] for name in sorted(faults)])

    overlap_rows, surface_rows = [], []
    for job in jobs:
        name = job.reference.name
        shown = (shown_prediction_folder or job.prediction.parent) / name
        paths = {"prediction_file": str(shown), "reference_file": str(job.reference)}
        overlap_rows.append({"metrics": measured[name].overlap, **paths})
        surface_rows.append({"metrics": measured[name].surface, **paths})
    summary = summary_content(overlap_rows)
    files.write_json(metrics_path(output), metrics_content(surface_rows, jobs[0].tolerance_mm))
    write_summary(output, summary)
    return summary


@dataclass(frozen=True)
class _Job:
    reference: Path
    prediction: Path
    reader: str
    labels: LabelSpace
    tolerance_mm: float
    other_values: bool


def _evaluate_case(job: _Job) -> CaseMetrics | UserError:
    """The case's metrics, or the problems of its files, so that the problems of all cases are reported together."""
    try:
        reference, prediction, geometry = read_pair(job.reader, job.reference, job.prediction, job.labels,
                                                    other_values=job.other_values)
    except UserError as fault:
        return fault
    return case_metrics(reference, prediction, geometry, job.labels, job.tolerance_mm)


def read_pair(
    reader: str, reference: Path, prediction: Path, labels: LabelSpace, *, other_values: bool = False
) -> tuple[np.ndarray, np.ndarray, Geometry]:
    """A reference and a prediction of it, both int16 (Z, Y, X) on the reference's grid, and this grid.

    Arguments:
        other_values: whether the files may hold values that are not in `labels`.

    Raises:
        UserError: a file that cannot be read, another grid, or other values.
    """
    expected, geometry = reader_named(reader).read_segmentation(reference)
    known = None if other_values else labels
    found, problems = read_on_grid(reader, prediction, geometry, reference, known, PREDICTION)
    if problems := ([] if known is None else value_problems(expected, known, reference)) + problems:
        raise joined(problems)
    return expected[0], found[0], geometry


def _find_pairs(
    reference: Path, prediction: Path, file_ending: str, names: Sequence[str] | None, chill: bool
) -> list[tuple[Path, Path]]:
    """The files to compare, sorted by name. Predictions without a reference and other files are reported."""
    (references, broken_references), (predictions, broken_predictions) = (
        _files_of(folder, file_ending) for folder in (reference, prediction))
    wanted = sorted(Path(name + file_ending).name for name in names) if names is not None else sorted(references)
    if not wanted:
        raise UserError(
            "The reference folder must hold segmentations.",
            where=reference,
            found=f"no file that ends with {file_ending}",
            mend="Name the folder with the labels, such as labelsTr.",
        )
    if chill and (without := [name for name in wanted if name not in predictions]):
        say(f"Warning: {len(without)} of {len(wanted)} references have no prediction and are not evaluated: "
            f"{some(without)}")
        wanted = [name for name in wanted if name in predictions]
        if not wanted:
            raise UserError("At least one reference needs its prediction file.", where=prediction,
                            found=f"none of {len(without)}", mend="Name the folder with the predictions.")
    problems = []
    for rule, folder, present, broken in (
        ("Every case needs its reference file.", reference, references, broken_references),
        ("Every reference needs its prediction file.", prediction, predictions, broken_predictions),
    ):
        problems += broken_links(folder, [name for name in wanted if name in broken])
        missing = [name for name in wanted if name not in present]
        if missing:
            found = f"{len(missing)} of {len(wanted)} are missing: {', '.join(missing)}"
            problems.append(UserError(rule, where=folder, found=found, mend="Put the missing files there."))
    if problems:
        raise joined(problems)
    extra = sorted(predictions - set(wanted))
    if names is None and extra:
        say(f"Warning: ignored, since they have no reference: {', '.join(extra)}")
    return [(reference / name, prediction / name) for name in wanted]


def _files_of(folder: Path, file_ending: str) -> tuple[set[str], set[str]]:
    """The names of the segmentations in `folder`, and of those among them that are broken links."""
    if not folder.is_dir():
        raise UserError("A folder to evaluate must exist.", where=folder)
    listing = list_folder(folder, file_ending)
    listing.say_passed_over()
    return {path.name for path in listing.paths}, {path.name for path in listing.broken_links}
