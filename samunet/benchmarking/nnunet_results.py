"""Import of finished nnU-Net results as additional rows: read or measured, never trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from samunet.benchmarking.jobs import Benchmark
from samunet.benchmarking.results import Cases, Result, read_cases
from samunet.dataset.dataset import RawDataset
from samunet.dataset.paths import Paths
from samunet.errors import UserError, joined
from samunet.evaluation.evaluate import evaluate_folder
from samunet.files import make_folder
from samunet.planning.plans import Plans
from samunet.planning.splits import ensure_splits, fold_cases
from samunet.workers import default_workers

SHOWN_NAMES = 5


def import_results(models: Sequence[Path], benchmark: Benchmark, dataset: RawDataset, paths: Paths) -> list[Result]:
    """One result for each model folder, over the benchmark's folds, named as the folder: `<trainer>__<plans>__2d`.

    A fold must have the validation cases of the benchmark's fold with the same number. A leak cannot be excluded
    further: nnU-Net trains no fold on its validation cases, but its folder does not list the training cases.

    If all folds have validation segmentations, they are measured like those of every variant, which gives HD95, ASSD
    and NSD; the scores go to the benchmark's folder `imported`. Otherwise Dice and IoU are taken from nnU-Net's
    summary.json. The model folders are not modified.

    Arguments:
        models: folders with fold_<F>/validation/summary.json.

    Raises:
        UserError: two models of one name, a missing fold, other cases or classes than the benchmark's; lists all faults
            of
            a model.
    """
    names = [*benchmark.variants, *(model.resolve().name for model in models)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError("Imported results must have unique names.", where="--nnunet_results", found=", ".join(twice),
                        mend="Give each folder once, or rename one of them.")
    return [_import(model, benchmark, dataset, paths) for model in models]


def _import(model: Path, benchmark: Benchmark, dataset: RawDataset, paths: Paths) -> Result:
    preprocessed = paths.preprocessed / dataset.name
    plans = Plans.load(preprocessed / f"{benchmark.plans_name}.json")
    splits = ensure_splits(dataset, preprocessed, None)
    val_cases = {fold: fold_cases(splits, fold, dataset)[1] for fold in benchmark.folds}
    validations = {fold: model / f"fold_{fold}" / "validation" for fold in benchmark.folds}
    problems = [problem for fold, names in val_cases.items()
                for problem in _problems(validations[fold], names, dataset)]
    if problems:
        raise joined(problems)
    missing = [f"training time, memory and parameters are unknown: imported from {model}"]
    absent = [name for fold, names in val_cases.items() for name in names
              if not (validations[fold] / f"{name}{dataset.file_ending}").is_file()]
    scores = validations
    if absent:
        missing.append("Dice and IoU are from its summary.json, other metrics are unknown: no segmentations of "
                       f"{_some(absent)}")
    else:
        folder = paths.results / dataset.name / "benchmark" / "imported" / model.resolve().name
        scores = {fold: make_folder(folder / f"fold_{fold}") for fold in benchmark.folds}
        for fold, names in val_cases.items():
            evaluate_folder(preprocessed / "gt_segmentations", validations[fold], dataset.labels, dataset.file_ending,
                            plans.dataset.reader, scores[fold] / "summary.json", default_workers(), names=names)
    cases: Cases = {}
    for fold in benchmark.folds:
        cases |= read_cases(scores[fold], dataset.file_ending)
    segmentations = {} if absent else {name: validations[fold] for fold, names in val_cases.items() for name in names}
    return Result(model.resolve().name, None, {0: cases}, {}, tuple(missing), {0: segmentations})


def _problems(validation: Path, names: Sequence[str], dataset: RawDataset) -> list[UserError]:
    """The reasons why a fold's validation cannot be compared on the cases `names`."""
    path = validation / "summary.json"
    if not path.is_file():
        return [UserError("The folder of an nnU-Net model must have fold_<F>/validation/summary.json for every fold of "
                          "the benchmark.", where=path, found="no such file",
                          mend="Give the folder <trainer>__<plans>__<configuration>, and its folds with --folds.")]
    try:
        cases = read_cases(validation, dataset.file_ending)
    except UserError as fault:
        return [fault]
    problems = []
    others, lacking = sorted(cases.keys() - set(names)), sorted(set(names) - cases.keys())
    if others or lacking:
        lists = (("also validated:", others), ("not validated:", lacking))
        found = [f"{title} {_some(some)}" for title, some in lists if some]
        problems.append(UserError(
            "An imported fold must have been validated on the cases of the benchmark's fold.", where=path,
            found="; ".join(found),
            mend="Use the same splits_final.json for both: put nnU-Net's into the folder of dataset.json before "
                 "planning."))
    expected = {str(label) for label in dataset.labels.foreground}
    classes = {key for row in cases.values() for key in row}
    if cases and classes != expected:
        problems.append(UserError("Imported scores must be of the dataset's classes.", where=path,
                                  found=f"{', '.join(sorted(classes))}; the dataset has {', '.join(sorted(expected))}"))
    return problems


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
