"""Predict a folder with what the model's calibration adds: a table of predicted Dice, and scaled probabilities."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from samunet.console import say
from samunet.errors import BadCases, UserError
from samunet.inference.model_folder import TrainedModel
from samunet.inference.predict_folder import PredictionSettings, predict_folder
from samunet.quality.calibration_file import FILE, MIRRORED, PLAIN, Calibration, usable_calibration
from samunet.quality.table import QualityWatch, line_of, read_table

SHOWN = 5


def predict_with_quality(
    model: TrainedModel, images: Path, output: Path, settings: PredictionSettings, *,
    calibrated_probabilities: bool = False,
) -> int:
    """Predict the cases in `images` into `output`; returns how many were predicted now.

    Where the model has a calibration for this way to predict, quality.json in `output` gets the predicted Dice of each
    case and class, and the worst cases are printed. Segmentations are the same with it and without.

    Arguments:
        calibrated_probabilities: save probabilities at the calibration's temperature. By default they are the
            model's own, which tools that average them with other models' expect.

    Raises:
        UserError: calibrated probabilities without a calibration or without saving any; see `predict_folder`.
        BadCases: see `predict_folder`.
    """
    calibration = _calibration(model, settings)
    if calibrated_probabilities:
        if not settings.save_probabilities:
            raise UserError("--calibrated_probabilities scales the probabilities that --save_probabilities saves.",
                            mend="Give both flags, or neither.")
        if calibration is None:
            raise UserError("Calibrated probabilities need the model's calibration for this way to predict.",
                            where=model.folder / FILE,
                            mend="Run samunet_calibrate, with --tta if you predict with --tta.")
        settings = replace(settings, temperature=calibration.temperature)
    if calibration is None:
        return _without_table(model, images, output, settings)
    read_table(output)  # one of another form is reported before anything is predicted
    watch = QualityWatch(calibration, model.labels, output, len(model.folds), settings.tta)
    count = predict_folder(model, images, output, settings, watch)
    if table := read_table(output):
        say(f"the worst cases, all in {output / FILE}:")
        for row in table.cases[:SHOWN]:
            say(f"  {line_of(row)}")
    return count


def _without_table(model: TrainedModel, images: Path, output: Path, settings: PredictionSettings) -> int:
    """Predict; then a table of earlier predictions in the same folder no longer describes what is there."""
    try:
        count = predict_folder(model, images, output, settings)
    except BadCases:
        (output / FILE).unlink(missing_ok=True)
        raise
    if count and (output / FILE).is_file():
        (output / FILE).unlink()
        say(f"{output / FILE} is removed, since it described earlier predictions")
    return count


def _calibration(model: TrainedModel, settings: PredictionSettings) -> Calibration | None:
    """The model's calibration for this way to predict, if it has one."""
    calibration = usable_calibration(model.folder, model.folds, MIRRORED if settings.tta else PLAIN)
    if calibration is not None and settings.step is not None:
        say(f"no predicted Dice: {model.folder / FILE} was measured without -step_size")
        return None
    return calibration
