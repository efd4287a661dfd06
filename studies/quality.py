"""What a predicted Dice and a temperature are worth on a fold that they were not fitted on.

    samunet_train 4 unet 1 --shots 5 --iterations 120                (and folds 2 and 3)
    python studies/quality.py MODEL --fit 1 2 --kept 3 --output studies/results/quality.jsonl
    python studies/quality.py MODEL --fit 1 2 --kept 3 --tta --output studies/results/quality.jsonl

MODEL is the model's folder. The regressions and the temperature are fitted on the validation cases of the folds of
`--fit`, as samunet_calibrate does, and evaluated on those of `--kept`, each case predicted by the fold that validates
it. For each class: Pearson's and Spearman's correlation of predicted and real Dice, the mean absolute error, and that
of always predicting the mean Dice of the fitted cases. Of all classes: calibration error and negative log-likelihood
at temperature 1 and at the fitted one. Paths come from samunet_preprocessed.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from record import append, facts
from scipy.stats import pearsonr, spearmanr

from samunet.dataset.dataset import read_dataset_json
from samunet.dataset.labels import LabelSpace
from samunet.dataset.paths import resolve_paths
from samunet.files import read_json
from samunet.quality.calibrate import calibrated
from samunet.quality.calibration_file import Calibration
from samunet.quality.cross_validation import MeasuredCase, measured_cases, validation_cases
from samunet.quality.temperature import calibration_error, joined, negative_log_likelihood


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--fit", nargs="+", required=True, metavar="FOLD")
    parser.add_argument("--kept", nargs="+", required=True, metavar="FOLD")
    parser.add_argument("--tta", action="store_true")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    folds = {fold: names for fold, names in validation_cases(options.model).items()
             if fold in (*options.fit, *options.kept)}
    preprocessed = resolve_paths().preprocessed / str(read_json(options.model / "plans.json")["dataset_name"])
    _, labels = read_dataset_json(options.model / "dataset.json")
    started = time.process_time()
    cases = list(measured_cases(options.model, folds, preprocessed, torch.device("cpu"), None, options.tta))
    fitted = [case for case in cases if case.fold in options.fit]
    kept = [case for case in cases if case.fold in options.kept]
    found = figures(calibrated(fitted, labels, {}, options.model), fitted, kept, labels)
    seconds = time.process_time() - started
    print(found)
    append(options.output, facts() | {"model": options.model.name, "fit": options.fit, "kept": options.kept,
                                      "tta": options.tta, "cpu_seconds": seconds, **found})


def figures(
    calibration: Calibration, fitted: Sequence[MeasuredCase], kept: Sequence[MeasuredCase], labels: LabelSpace
) -> dict[str, Any]:
    """The record: of each class, and of the probabilities."""
    voxels = joined([case.voxels for case in kept])
    errors, likelihoods = zip(*((calibration_error(voxels, labels, t), negative_log_likelihood(voxels, labels, t))
                                for t in (1.0, calibration.temperature)), strict=True)
    classes = {labels.name_of(label): of_class(str(label), calibration, fitted, kept) for label in labels.foreground}
    return {"cases": [len(fitted), len(kept)], "classes": classes, "temperature": calibration.temperature,
            "calibration_error": errors, "negative_log_likelihood": likelihoods}


def of_class(
    key: str, calibration: Calibration, fitted: Sequence[MeasuredCase], kept: Sequence[MeasuredCase]
) -> dict[str, Any]:
    """Predicted against real Dice of one class on the kept cases that have one."""
    regression = calibration.classes[key]
    shown = [case for case in kept if not math.isnan(case.dice[key])]
    real = np.array([case.dice[key] for case in shown])
    predicted = np.array([regression.predict(case.features[key]) for case in shown])
    usual = mean(case.dice[key] for case in fitted if not math.isnan(case.dice[key]))
    return {"real": float(real.mean()), "predicted": float(predicted.mean()),
            "pearson": float(pearsonr(predicted, real)[0]), "spearman": float(spearmanr(predicted, real)[0]),
            "error": float(np.abs(predicted - real).mean()),
            "error_of_the_mean": float(np.abs(usual - real).mean()), "weights": regression.weights,
            "cases": {case.name: [float(one), float(other)]
                      for case, one, other in zip(shown, predicted, real, strict=True)}}


if __name__ == "__main__":
    main()
