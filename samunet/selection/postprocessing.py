"""Post-processing: largest components, kept only where that raises the cross-validated Dice, and applied to a folder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from samunet.console import progress
from samunet.dataset.geometry import Geometry
from samunet.dataset.io.readers import reader_named
from samunet.dataset.labels import Label, LabelSpace
from samunet.dataset.segmentations import value_problems
from samunet.errors import UserError, joined, some
from samunet.evaluation.case_metrics import case_overlap
from samunet.evaluation.evaluate import evaluate_folder, read_pair
from samunet.evaluation.report import summary_content
from samunet.files import require_writable, whole_folder, write_json
from samunet.locks import lock_beside, owned
from samunet.selection.components import keep_largest_of_each
from samunet.selection.postprocessing_file import NAME, Step, postprocessing_content
from samunet.selection.prediction_folder import POSTPROCESSED, PredictionFolder
from samunet.workers import each_case

Scores = dict[str, float]
"""Mean Dice of each class key, and `foreground_mean`; NaN where a class never occurs."""
MEAN = "foreground_mean"


@dataclass(frozen=True)
class Decision:
    """Whether the largest component of the labels `step` is kept; `what` is the foreground or a class key."""

    what: str
    step: Step
    kept: bool
    before: Scores
    after: Scores


def determine_postprocessing(
    predictions: PredictionFolder, reference: Path, workers: int, *, keep_postprocessed: bool = True
) -> list[Decision]:
    """Decide which largest components to keep; write postprocessing.json and, beside it, postprocessed/.

    The rule is nnU-Net's (postprocessing/remove_connected_components.py, 2.8.1): first the largest component of the
    merged foreground, if the mean Dice rises and no class falls; then, where there are several classes or regions, each
    in the order of dataset.json, if its own Dice rises. One addition: a step that lowers the mean over the classes is
    not taken. Only regions that overlap can differ by it, where removing a part of one takes it from another.

    Arguments:
        reference: folder with the labels of all predicted cases.
        keep_postprocessed: write the post-processed cases to <predictions>/postprocessed, with their summary.json.

    Raises:
        UserError: a prediction has no reference, files cannot be read or compared, or nothing can be written.
    """
    names = predictions.cases()
    _require_references(predictions, reference, names)
    require_writable(predictions.folder)
    with owned(lock_beside(predictions.folder), predictions.folder):
        decisions = decide(predictions, reference, names, workers)
        steps = [each.step for each in decisions if each.kept]
        content = {**postprocessing_content(steps), "cases": len(names), "before": _strict(decisions[0].before),
                   "after": _strict(final_scores(decisions)), "decisions": [_described(each) for each in decisions]}
        if keep_postprocessed:
            output = predictions.folder / POSTPROCESSED
            with whole_folder(output) as temporary:
                _apply(predictions, names, temporary, steps, workers)
                evaluate_folder(reference, temporary, predictions.labels, predictions.ending, predictions.reader, None,
                                workers, names=names, shown_prediction_folder=output)
        write_json(predictions.folder / NAME, content)
    return decisions


def decide(predictions: PredictionFolder, reference: Path, names: Sequence[str], workers: int) -> list[Decision]:
    """The decisions, in order; see `determine_postprocessing`. The first is about the whole foreground."""
    labels = predictions.labels
    scores = partial(_scores, predictions, reference, names, workers=workers)
    foreground = tuple(value for value in labels.values if value != 0)
    current, tried = scores([[], [foreground]])
    kept = tried[MEAN] > current[MEAN] and not any(tried[key] < current[key] for key in tried)
    decisions = [Decision("foreground", foreground, kept, current, tried)]
    for label in labels.foreground if len(labels.foreground) > 1 else ():
        current = final_scores(decisions)
        step = label if isinstance(label, tuple) else (label,)
        (tried,) = scores([[*(each.step for each in decisions if each.kept), step]])
        kept = tried[str(label)] > current[str(label)] and _mean_of_defined(tried) >= _mean_of_defined(current)
        decisions.append(Decision(str(label), step, kept, current, tried))
    return decisions


def final_scores(decisions: Sequence[Decision]) -> Scores:
    """The scores after all steps that were kept."""
    return next((each.after for each in reversed(decisions) if each.kept), decisions[0].before)


def apply_postprocessing(predictions: PredictionFolder, output: Path, steps: Sequence[Step], workers: int) -> int:
    """Write every case of a folder, post-processed, to `output`, with dataset.json and plans.json; returns how many.

    All cases are read first: if one is bad, nothing is written.

    Raises:
        UserError: the output is the folder itself or cannot be written; files that cannot be read, or hold other
            values than dataset.json lists.
    """
    if output.resolve() == predictions.folder.resolve():
        raise UserError("The output folder must not be the input folder.", where=output,
                        mend="Choose another folder for -o.")
    names = predictions.cases()
    jobs = [_Case(predictions, name, output, [steps]) for name in names]
    for _ in progress(each_case(_check, jobs, names, workers), "checking", len(jobs)):
        pass
    require_writable(output)
    with owned(lock_beside(output), output):
        _apply(predictions, names, output, steps, workers)
    return len(names)


@dataclass(frozen=True)
class _Case:
    predictions: PredictionFolder
    name: str
    place: Path  # the reference, or the folder that receives the result
    rules: Sequence[Sequence[Step]]


def _scores(
    predictions: PredictionFolder, reference: Path, names: Sequence[str], rules: Sequence[Sequence[Step]], workers: int
) -> list[Scores]:
    """The mean scores under each of several rules, in one pass over the cases."""
    jobs = [_Case(predictions, name, reference / f"{name}{predictions.ending}", rules) for name in names]
    found = dict(progress(each_case(_overlaps, jobs, names, workers), "comparing", len(jobs)))
    return [_means([found[name][index] for name in names]) for index in range(len(rules))]


def _overlaps(case: _Case) -> list[dict[str, dict[str, Any]]]:
    folder = case.predictions
    reference, prediction, _ = read_pair(folder.reader, case.place, folder.segmentation(case.name), folder.labels)
    return [case_overlap(reference, keep_largest_of_each(prediction, steps), folder.labels) for steps in case.rules]


def _means(overlaps: Sequence[dict[str, dict[str, Any]]]) -> Scores:
    summary = summary_content([{"metrics": each} for each in overlaps])
    return {MEAN: summary[MEAN]["Dice"], **{key: row["Dice"] for key, row in summary["mean"].items()}}


def _mean_of_defined(scores: Scores) -> float:
    """Mean over the classes that occur; 0 where none does."""
    defined = [value for key, value in scores.items() if key != MEAN and not math.isnan(value)]
    return sum(defined) / len(defined) if defined else 0.0


def _apply(predictions: PredictionFolder, names: Sequence[str], output: Path, steps: Sequence[Step], workers: int,
           ) -> None:
    predictions.copy_companions(output)
    jobs = [_Case(predictions, name, output, [steps]) for name in names]
    for _ in progress(each_case(_write, jobs, names, workers), "post-processing", len(jobs)):
        pass


def _check(case: _Case) -> None:
    """Whether the case can be read and has known values alone; returns nothing, so that no array is sent back."""
    _read(case)


def _read(case: _Case) -> tuple[np.ndarray, Geometry]:
    """The case's segmentation, int16 (1, Z, Y, X), and its grid."""
    folder, path = case.predictions, case.predictions.segmentation(case.name)
    segmentation, geometry = reader_named(folder.reader).read_segmentation(path)
    if problems := value_problems(segmentation, folder.labels, path):
        raise joined(problems)
    return segmentation, geometry


def _write(case: _Case) -> None:
    folder, path = case.predictions, case.predictions.segmentation(case.name)
    segmentation, geometry = _read(case)
    result = keep_largest_of_each(segmentation[0], case.rules[0])
    reader = reader_named(folder.reader)
    reader.write_segmentation(_as_written(result, folder.labels), case.place / path.name, geometry)


def _as_written(segmentation: np.ndarray, labels: LabelSpace) -> np.ndarray:
    written: np.ndarray = segmentation.astype(labels.dtype)
    return written


def _require_references(predictions: PredictionFolder, reference: Path, names: Sequence[str]) -> None:
    if not reference.is_dir():
        raise UserError("The folder of references must exist.", where=reference)
    missing = [name for name in names if not (reference / f"{name}{predictions.ending}").exists()]
    if missing:
        raise UserError("Every prediction needs its reference file.", where=reference,
                        found=f"{len(missing)} of {len(names)} are missing: {some(missing)}",
                        mend="Name the folder with the labels of the predicted cases, such as labelsTr.")


def _described(decision: Decision) -> dict[str, Any]:
    return {"what": decision.what, "labels": list(decision.step), "kept": decision.kept,
            "before": _strict(decision.before), "after": _strict(decision.after)}


def _strict(scores: Scores) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else value for key, value in scores.items()}


def label_text(labels: LabelSpace, decision: Decision) -> str:
    """What a decision is about, for people: the foreground, or a label's name."""
    by_key: dict[str, Label] = {str(label): label for label in labels.foreground}
    return labels.name_of(by_key[decision.what]) if decision.what in by_key else decision.what
