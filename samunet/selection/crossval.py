"""nnU-Net's crossval_results_folds_...: the validation of several folds in one folder, with one summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from samunet.dataset.folder_listing import list_folder
from samunet.dataset.io.tiff3d_io import label_spacing_file
from samunet.errors import UserError, some
from samunet.evaluation.report import (
    metrics_content,
    metrics_path,
    number_of,
    read_metrics,
    read_summary,
    summary_content,
    write_summary,
)
from samunet.files import copy_whole, make_folder, write_json

FILES_BESIDE = ("plans.json", "dataset.json")


def accumulate(model: Path, folds: Sequence[str], file_ending: str) -> Path:
    """Copy the folds' validation segmentations into one folder and merge their scores; returns the folder.

    Its name and summary.json are nnU-Net's (accumulate_cv_results.py, 2.8.1): all cases, and means over all of them,
    not means of the folds' means.

    Arguments:
        model: the folder that holds fold_0, ...; for few shots that of one draw.
        file_ending: of segmentations.
        folds: finished ones with validation cases.

    Raises:
        UserError: a case is in two folds, or summary.json and metrics.json of a fold are not of the same cases.
    """
    output = model / f"crossval_results_folds_{'_'.join(folds)}"
    validations = [model / f"fold_{fold}" / "validation" for fold in folds]
    summaries = [read_summary(folder / "summary.json")["metric_per_case"] for folder in validations]
    rows = sorted((row for summary in summaries for row in summary), key=lambda row: row["reference_file"])
    names = [Path(row["reference_file"]).name for row in rows]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError("A case must be validated in one fold only.", where=model, found=", ".join(twice),
                        mend="Accumulate folds of one splits file, without `all`.")
    surface = [read_metrics(metrics_path(folder / "summary.json")) for folder in validations]
    by_reference = {row["reference_file"]: row for content in surface for row in content["metric_per_case"]}
    if strange := sorted(by_reference.keys() ^ {row["reference_file"] for row in rows}):
        raise UserError("summary.json and metrics.json must be of the same cases.", where=model, found=some(strange),
                        mend="Repeat the validation of its folds with samunet_train --val.")
    make_folder(output)
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


def _first(model: Path, name: str) -> Path | None:
    """A model's file, in its folder or the one above (for draws)."""
    return next((folder / name for folder in (model, model.parent) if (folder / name).is_file()), None)


def _numbers(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of metrics.json with null and "Infinity" as numbers."""
    return [{**row, "metrics": {key: {name: number_of(value) for name, value in each.items()}
                                for key, each in row["metrics"].items()}} for row in rows]
