"""The best of what is trained: single models and ensembles of two, compared by their cross-validation."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from samunet.console import say
from samunet.dataset.paths import Paths, find_dataset
from samunet.errors import UserError, some
from samunet.evaluation.evaluate import evaluate_folder
from samunet.evaluation.report import read_summary
from samunet.files import copy_whole, make_folder, whole_folder
from samunet.locks import lock_beside, owned
from samunet.selection.crossval import accumulate, merged_folder
from samunet.selection.ensemble import Merge, checked_merges, write_merges
from samunet.selection.instructions import INSTRUCTIONS, Best, write_instructions
from samunet.selection.postprocessing import MEAN, determine_postprocessing, final_scores
from samunet.selection.prediction_folder import open_predictions
from samunet.selection.trained import Candidate, candidates

ENSEMBLES = "ensembles"


@dataclass(frozen=True)
class Comparison:
    """What is compared: variants with all their folds, those of `variants` only or all.

    Arguments:
        ensembling: also compare ensembles of every two models.
        overwrite: merge and average again what an earlier call left.
    """

    dataset: str
    folds: tuple[str, ...]
    plans_names: tuple[str, ...]
    variants: tuple[str, ...] | None = None
    ensembling: bool = True
    overwrite: bool = True


def find_best_trained(comparison: Comparison, paths: Paths, workers: int) -> Path:
    """Compare what is trained, determine post-processing of the best, write how to use it; returns the instructions.

    nnU-Net's rule (evaluation/find_best_configuration.py, 2.8.1): the highest mean foreground Dice over all validated
    cases; of equal ones the first, single models before ensembles. Where a class never occurs, which makes nnU-Net's
    mean NaN, the mean is over the classes that occur.

    Raises:
        UserError: see `trained.candidates`; probabilities of the validation are missing; no reference labels.
    """
    results = find_dataset(paths.results, comparison.dataset)
    models = candidates(paths.results, results.name, comparison.plans_names, comparison.variants, comparison.folds)
    reference = _references(paths, results.name)
    pairs = list(itertools.combinations(models, 2)) if comparison.ensembling else []
    if pairs:
        _require_probabilities(models, results.name)
    with owned(lock_beside(results / ENSEMBLES), results / ENSEMBLES):
        found: dict[str, tuple[Path, tuple[Candidate, ...]]] = {}
        for model in models:
            found[model.folder.name] = _merged(model, comparison), (model,)
        for pair in pairs:
            folder = results / ENSEMBLES / ensemble_name(pair, comparison.folds)
            if comparison.overwrite or not _complete(folder, pair[0]):
                _ensembled(pair, folder, reference, workers)
            found[folder.name] = folder, pair
        scores = {name: score(read_summary(folder / "summary.json")) for name, (folder, _) in found.items()}
        best = first_best(scores)
        folder, members = found[best]
        decisions = determine_postprocessing(open_predictions(folder), reference, workers)
        for name, value in scores.items():
            say(f"{name}: {value:.4f}{'  <- best' if name == best else ''}")
        write_instructions(results, Best(
            comparison.dataset, comparison.folds, scores, comparison.ensembling, folder, scores[best],
            final_scores(decisions)[MEAN], tuple(models), members))
    return results / INSTRUCTIONS


def first_best(scores: dict[str, float]) -> str:
    """The name of the highest score, of equal ones the first."""
    return max(scores, key=lambda name: scores[name])


def score(summary: dict[str, Any]) -> float:
    """The mean over the classes of their mean Dice; classes that no case has are left out.

    Raises:
        UserError: no case has any class.
    """
    dice = [row["Dice"] for row in summary["mean"].values() if not math.isnan(row["Dice"])]
    if not dice:
        raise UserError("Validation cases must hold at least one class, in the labels or the prediction.",
                        found="Dice is undefined for every class", mend="Compare folds that hold labelled voxels.")
    return float(np.mean(dice))


def ensemble_name(pair: Sequence[Candidate], folds: Sequence[str]) -> str:
    """nnU-Net's name of an ensemble's folder."""
    return "___".join(["ensemble", *(each.folder.name for each in pair), "_".join(folds)])


def _merged(model: Candidate, comparison: Comparison) -> Path:
    folder = merged_folder(model.folder, comparison.folds)
    if not comparison.overwrite and _complete(folder, model):
        return folder
    return accumulate(model.folder, comparison.folds, model.ending)


def _complete(folder: Path, model: Candidate) -> bool:
    """Whether an earlier call left scores of the same cases, and the files that describe the folder."""
    if not all((folder / name).is_file() for name in ("summary.json", "dataset.json", "plans.json")):
        return False
    rows = read_summary(folder / "summary.json")["metric_per_case"]
    return {Path(row["reference_file"]).name.removesuffix(model.ending) for row in rows} == model.places.keys()


def _ensembled(pair: Sequence[Candidate], output: Path, reference: Path, workers: int) -> None:
    """Average the validation of two models into a folder of nnU-Net's layout, and evaluate it; an older one goes."""
    first, names = pair[0], sorted(pair[0].places)
    make_folder(output.parent)
    with whole_folder(output) as temporary:
        merges = [Merge(name, tuple(each.places[name] for each in pair), tuple(each.reader for each in pair),
                        first.ending, first.labels, temporary) for name in names]
        write_merges(checked_merges(merges, workers), workers)
        for name in ("dataset.json", "plans.json"):
            copy_whole(first.folder / name, temporary / name)
        evaluate_folder(reference, temporary, first.labels, first.ending, first.reader, None, workers, names=names,
                        shown_prediction_folder=output)


def _require_probabilities(models: Sequence[Candidate], dataset: str) -> None:
    """Ensembles need the probabilities of every validated case."""
    missing = []
    for model in models:
        folds = {folder.parent.name.removeprefix("fold_") for name, folder in model.places.items()
                 if not (folder / f"{name}.npz").is_file()}
        missing += [shlex.join(["samunet_train", dataset, model.variant, fold, "-p", model.plans_name, "--encoder",
                                model.encoder, "--val", "--npz"]) for fold in sorted(folds)]
    if missing:
        raise UserError("Ensembles need the probabilities of the validation cases.", where=models[0].folder.parent,
                        found=f"{len(missing)} folds without them",
                        mend=f"Run {some(missing, len(missing))}; or give --disable_ensembling.")


def _references(paths: Paths, dataset: str) -> Path:
    folders = (paths.preprocessed / dataset / "gt_segmentations", paths.raw / dataset / "labelsTr")
    found = next((folder for folder in folders if folder.is_dir()), None)
    if found is None:
        raise UserError("The labels of the training cases are needed.", where=folders[0], found="no such folder",
                        mend="Run samunet_preprocess, or name the folders with --preprocessed or --raw.")
    return found
