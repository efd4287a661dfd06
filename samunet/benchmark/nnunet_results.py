"""Results of nnU-Net that somebody already has, as rows beside the others: read or measured, never trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from samunet.benchmark.jobs import Benchmark
from samunet.benchmark.results import Cases, Result, read_cases
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
    """One result for each trained model's folder, over the benchmark's folds, named as the folder: `<trainer>__<plans>__2d`.

    A fold counts only if its validation cases are those of the benchmark's fold of the same number. More cannot be told of a
    leak: nnU-Net trains no fold on its validation cases, but its folder does not name those that it did train on.

    Where the validation segmentations of all folds are there, they are measured as every variant's are, by which nnU-Net's
    HD95, ASSD and NSD become known; the scores go to the benchmark's folder `imported`. Otherwise Dice and IoU are
    nnU-Net's own, of its summary.json. The models' folders are only read.

    Arguments:
        models: folders with fold_<F>/validation/summary.json.

    Raises:
        UserError: two of one name, a fold that is not there, other cases or classes than the benchmark's; all of a model's
            faults at once.
    """
    names = [*benchmark.variants, *(model.resolve().name for model in models)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError("Imported results must have names of their own.", where="--nnunet_results", found=", ".join(twice),
                        mend="Give each folder once, or rename one of them.")
    return [_import(model, benchmark, dataset, paths) for model in models]


def _import(model: Path, benchmark: Benchmark, dataset: RawDataset, paths: Paths) -> Result:
    preprocessed = paths.preprocessed / dataset.name
    plans = Plans.load(preprocessed / f"{benchmark.plans_name}.json")
    splits = ensure_splits(dataset, preprocessed, None)
    val_cases = {fold: fold_cases(splits, fold, dataset)[1] for fold in benchmark.folds}
    validations = {fold: model / f"fold_{fold}" / "validation" for fold in benchmark.folds}
    problems = [problem for fold, names in val_cases.items() for problem in _problems(validations[fold], names, dataset)]
    if problems:
        raise joined(problems)
    missing = [f"time, memory and parameters of its training are not known: imported from {model}"]
    absent = [name for fold, names in val_cases.items() for name in names
              if not (validations[fold] / f"{name}{dataset.file_ending}").is_file()]
    scores = validations
    if absent:
        missing.append(f"Dice and IoU are its summary.json's, the others not known: no segmentations of {_some(absent)}")
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
    """What keeps a fold's validation from being compared on the cases `names`."""
    path = validation / "summary.json"
    if not path.is_file():
        return [UserError("A trained model's folder must hold fold_<F>/validation/summary.json for every fold of the benchmark.",
                          where=path, found="no such file",
                          mend="Give the folder <trainer>__<plans>__<configuration>, and with --folds the folds that it has.")]
    try:
        cases = read_cases(validation, dataset.file_ending)
    except UserError as fault:
        return [fault]
    problems = []
    others, lacking = sorted(cases.keys() - set(names)), sorted(set(names) - cases.keys())
    if others or lacking:
        found = [f"{told} {_some(some)}" for told, some in (("also validated:", others), ("not validated:", lacking)) if some]
        problems.append(UserError(
            "An imported fold must have been validated on the cases of the benchmark's fold.", where=path,
            found="; ".join(found),
            mend="Use one splits_final.json for both: put nnU-Net's beside dataset.json before planning."))
    expected, classes = {str(label) for label in dataset.labels.foreground}, {key for row in cases.values() for key in row}
    if cases and classes != expected:
        problems.append(UserError("Imported scores must be of the dataset's classes.", where=path,
                                  found=f"{', '.join(sorted(classes))}; the dataset has {', '.join(sorted(expected))}"))
    return problems


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
