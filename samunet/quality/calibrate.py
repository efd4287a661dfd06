"""Fit a model's calibration on its cross-validation, and store it beside the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from samunet.console import say
from samunet.dataset.dataset import read_dataset_json
from samunet.dataset.labels import LabelSpace
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.files import read_json, require_writable
from samunet.locks import lock_beside, owned
from samunet.quality.calibration_file import FILE, MIRRORED, PLAIN, Calibration, checkpoint_digest, write_calibration
from samunet.quality.cross_validation import MeasuredCase, measured_cases, validation_cases
from samunet.quality.regression import FEWEST, fit
from samunet.quality.temperature import calibration_error, fit_temperature, joined


def calibrate_model(
    model: Path, paths: Paths, device: torch.device, *, encoder_name: str | None = None, mirrored: bool = False
) -> Path:
    """What `samunet_calibrate` does: predict the validation cases of every finished fold, fit, write quality.json.

    Arguments:
        model: its folder.
        mirrored: calibrate predictions with `--tta`; those without have a calibration of their own.

    Raises:
        UserError: see `validation_cases`, `measured_cases` and `calibrated`; another calibration of the model runs.
    """
    folds = validation_cases(model)
    _, labels = read_dataset_json(model / "dataset.json")
    preprocessed = paths.preprocessed / str(read_json(model / "plans.json")["dataset_name"])
    require_writable(model)
    with owned(lock_beside(model / FILE), model):
        cases = list(measured_cases(model, folds, preprocessed, device, encoder_name, mirrored))
        checkpoints = {fold: checkpoint_digest(model, fold) for fold in folds}
        calibration = calibrated(cases, labels, checkpoints, model)
        say_calibration(calibration, labels)
        return write_calibration(model, MIRRORED if mirrored else PLAIN, calibration)


def calibrated(
    cases: Sequence[MeasuredCase], labels: LabelSpace, checkpoints: Mapping[str, str | None], where: Path
) -> Calibration:
    """Fit one regression for each class and one temperature for all.

    Cases without a Dice of a class (neither prediction nor reference has it) do not count for it. The calibration
    errors are of the cases that the temperature was fitted on.

    Raises:
        UserError: a class with a Dice in fewer than `FEWEST` cases.
    """
    classes = {}
    for label in labels.foreground:
        rows = [(case.features[str(label)], case.dice[str(label)]) for case in cases
                if not math.isnan(case.dice[str(label)])]
        if len(rows) < FEWEST:
            raise UserError(f"Calibration needs {FEWEST} validation cases that show each class.", where=where,
                            found=f"{len(rows)} of {labels.name_of(label)}", mend="Train more folds.")
        classes[str(label)] = fit([features for features, _ in rows], [dice for _, dice in rows])
    voxels = joined([case.voxels for case in cases])
    temperature = fit_temperature(voxels, labels)
    errors = calibration_error(voxels, labels, 1.0), calibration_error(voxels, labels, temperature)
    return Calibration(temperature, errors, classes, dict(checkpoints))


def say_calibration(calibration: Calibration, labels: LabelSpace) -> None:
    """Report what was fitted, one line a class and one for the temperature."""
    for label in labels.foreground:
        found = calibration.classes[str(label)]
        say(f"{labels.name_of(label)}: predicted Dice misses the real one by {found.error:.3f} on average "
            f"({found.cases} cases, each left out in turn)")
    before, after = calibration.calibration_error
    say(f"temperature {calibration.temperature:.3f}: calibration error {before:.4f} before, {after:.4f} after")
