"""What a predicted Dice and a temperature are worth on a fold that they were not fitted on.

    samunet_train 4 atlas 1 --shots 1        (or another variant, with as many iterations as there is time for)
    python studies/quality.py MODEL --fold 1 --kept 3 --output studies/results/quality.jsonl
    python studies/quality.py MODEL --fold 1 --kept 3 --tta --output studies/results/quality.jsonl

MODEL is the model's folder. The regressions and the temperature are fitted on the validation cases of `--fold`, as
samunet_calibrate does with one fold. They are evaluated on those validation cases of the fold `--kept` whose patients
neither train the model nor are in the fit, predicted by the same weights. For each class: Pearson's and Spearman's
correlation of predicted and real Dice, the mean absolute error, and that of always predicting the mean Dice of the
fitted cases. Of all classes: calibration error and negative log-likelihood at temperature 1 and at the fitted one.
Paths come from samunet_preprocessed.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
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
from samunet.inference.model_folder import finished_runs
from samunet.planning.groups import kept_groups
from samunet.quality.calibrate import calibrated
from samunet.quality.calibration_file import Calibration
from samunet.quality.cross_validation import MeasuredCase, measured_cases, validation_cases
from samunet.quality.temperature import calibration_error, joined, negative_log_likelihood


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--fold", required=True)
    parser.add_argument("--kept", required=True, metavar="FOLD")
    parser.add_argument("--tta", action="store_true")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    fitting = validation_cases(options.model)[options.fold]
    preprocessed = resolve_paths().preprocessed / str(read_json(options.model / "plans.json")["dataset_name"])
    training = finished_runs(options.model)[options.fold]["train_cases"]
    keeping = kept_cases(preprocessed, int(options.kept), [*fitting, *training])
    _, labels = read_dataset_json(options.model / "dataset.json")
    started = time.process_time()
    fitted, kept = (list(measured_cases(options.model, {options.fold: names}, preprocessed, torch.device("cpu"), None,
                                        options.tta)) for names in (fitting, keeping))
    found = figures(calibrated(fitted, labels, {}, options.model), fitted, kept, labels)
    seconds = time.process_time() - started
    print(found)
    append(options.output, facts() | {"model": options.model.name, "fold": options.fold, "kept": options.kept,
                                      "tta": options.tta, "cpu_seconds": seconds, **found})


def kept_cases(preprocessed: Path, fold: int, used: Sequence[str]) -> list[str]:
    """The validation cases of `fold` of no patient who has a case in `used`."""
    groups = kept_groups(preprocessed) or {}
    patients = {groups.get(name, name) for name in used}
    return [name for name in read_json(preprocessed / "splits_final.json")[fold]["val"]
            if groups.get(name, name) not in patients]


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
            "pearson": correlation(pearsonr, predicted, real), "spearman": correlation(spearmanr, predicted, real),
            "error": float(np.abs(predicted - real).mean()),
            "error_of_the_mean": float(np.abs(usual - real).mean()), "weights": regression.weights,
            "cases": {case.name: [float(one), float(other)]
                      for case, one, other in zip(shown, predicted, real, strict=True)}}


def correlation(kind: Callable[[np.ndarray, np.ndarray], Any], one: np.ndarray, other: np.ndarray) -> float | None:
    """None where all values of one side are equal, so that it is undefined."""
    return float(kind(one, other)[0]) if np.ptp(one) and np.ptp(other) else None


if __name__ == "__main__":
    main()
