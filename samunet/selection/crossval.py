"""nnU-Net's crossval_results_folds_...: the validation of several folds in one folder, with one summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samunet.dataset.case_paths import is_there, label_ending
from samunet.dataset.dataset import read_dataset_json
from samunet.dataset.folder_listing import list_folder
from samunet.dataset.io.tiff3d_io import label_spacing_file
from samunet.errors import UserError, joined, some
from samunet.evaluation.report import (
    metrics_content,
    metrics_path,
    number_of,
    read_metrics,
    read_summary,
    summary_content,
    write_summary,
)
from samunet.files import copy_whole, make_folder, remove_path, write_json
from samunet.inference.model_folder import finished_runs
from samunet.selection.prediction_folder import POSTPROCESSED

FILES_BESIDE = ("plans.json", "dataset.json")


def accumulate_trained(model: Path, folds: Sequence[str], output: Path | None = None) -> Path:
    """`accumulate` for folds that samunet_train finished, after comparing their scores with the cases they validated.

    Arguments:
        output: a new or empty folder; default: see `accumulate`.

    Raises:
        UserError: folds are missing or unfinished, a fold's scores or segmentations are not of its validation cases, or
            the output is not empty. Nothing is written then.
    """
    dataset, _ = read_dataset_json(_first(model, "dataset.json") or model / "dataset.json")
    ending = label_ending(dataset["file_ending"])
    validated_cases(model, folds, ending)
    if output is not None and output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError("The output folder must be new or empty.", where=output, mend="Choose another for -o.")
    return accumulate(model, folds, ending, output)


def validated_cases(model: Path, folds: Sequence[str], ending: str) -> dict[str, Path]:
    """Case -> its validation folder, of finished folds that have scores and segmentations of all their cases.

    Raises:
        UserError: what is missing or validated twice, by fold.
    """
    runs = finished_runs(model)
    if missing := [fold for fold in folds if fold not in runs]:
        raise UserError("Every requested fold must be trained and finished.", where=model,
                        found=f"missing: {', '.join(missing)}; finished: {', '.join(runs) or 'none'}",
                        mend="Train them with samunet_train, or name others with -f.")
    places: dict[str, Path] = {}
    problems, twice = [], set()
    for fold in folds:
        folder = model / f"fold_{fold}" / "validation"
        expected = set(runs[fold].get("val_cases") or ())
        scored = {Path(row["reference_file"]).name.removesuffix(ending)
                  for row in read_summary(folder / "summary.json")["metric_per_case"]}
        there = {name for name in expected if is_there(folder / f"{name}{ending}", ending)}
        if strange := sorted((expected ^ scored) | (expected - there)):
            problems.append(UserError("A fold must have scores and segmentations of its validation cases.",
                                      where=folder, found=f"missing, or of other cases: {some(strange)}",
                                      mend="Repeat its validation with samunet_train --val."))
        twice |= expected & places.keys()
        places |= {name: folder for name in expected}
    if twice:
        problems.append(_in_two_folds(model, sorted(twice)))
    if problems:
        raise joined(problems)
    return places


def accumulate(model: Path, folds: Sequence[str], file_ending: str, output: Path | None = None) -> Path:
    """Copy the folds' validation segmentations into one folder and merge their scores; returns the folder.

    Its name and summary.json are nnU-Net's (accumulate_cv_results.py, 2.8.1): all cases, and means over all of them,
    not means of the folds' means.

    Arguments:
        model: the folder that holds fold_0, ...; for few shots that of one draw.
        file_ending: of segmentations.
        folds: finished ones with validation cases.
        output: default: crossval_results_folds_... in `model`. Segmentations of other cases are removed from it.

    Raises:
        UserError: a case is in two folds, or summary.json and metrics.json of a fold are not of the same cases.
    """
    output = output or merged_folder(model, folds)
    validations = [model / f"fold_{fold}" / "validation" for fold in folds]
    summaries = [read_summary(folder / "summary.json")["metric_per_case"] for folder in validations]
    rows = sorted((row for summary in summaries for row in summary), key=lambda row: row["reference_file"])
    names = [Path(row["reference_file"]).name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _in_two_folds(model, twice)
    surface = [read_metrics(metrics_path(folder / "summary.json")) for folder in validations]
    by_reference = {row["reference_file"]: row for content in surface for row in content["metric_per_case"]}
    if strange := sorted(by_reference.keys() ^ {row["reference_file"] for row in rows}):
        raise UserError("summary.json and metrics.json must be of the same cases.", where=model, found=some(strange),
                        mend="Repeat the validation of its folds with samunet_train --val.")
    make_folder(output)
    for path in list_folder(output, file_ending).paths:
        if path.name not in names and path.name != POSTPROCESSED:
            remove_path(path)
    for folder in validations:
        for path in list_folder(folder, file_ending).paths:
            copy_whole(path, output / path.name)
            if (spacing := label_spacing_file(path)).is_file():  # of a 3D TIFF
                copy_whole(spacing, output / spacing.name)
    for name in FILES_BESIDE:
        if (found := _first(model, name)) is not None:
            copy_whole(found, output / name)
    moved = [{**row, "prediction_file": str(output / Path(row["reference_file"]).name)} for row in rows]
    measured = [{**by_reference[row["reference_file"]], "prediction_file": row["prediction_file"]} for row in moved]
    write_json(output / "metrics.json", metrics_content(_numbers(measured), surface[0]["tolerance_mm"]))
    write_summary(output / "summary.json", summary_content(moved))
    return output


def merged_folder(model: Path, folds: Sequence[str]) -> Path:
    """Where the merged folds of a model are, by nnU-Net's name."""
    return model / f"crossval_results_folds_{'_'.join(folds)}"


def _in_two_folds(model: Path, names: Sequence[str]) -> UserError:
    return UserError("A case must be validated in one fold only.", where=model, found=", ".join(names),
                     mend="Accumulate folds of one splits file, without `all`.")


def _first(model: Path, name: str) -> Path | None:
    """A model's file, in its folder or the one above (for draws)."""
    return next((folder / name for folder in (model, model.parent) if (folder / name).is_file()), None)


def _numbers(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of metrics.json with null and "Infinity" as numbers."""
    return [{**row, "metrics": {key: {name: number_of(value) for name, value in each.items()}
                                for key, each in row["metrics"].items()}} for row in rows]
