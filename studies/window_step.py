"""What wider steps between the windows of `hybrid` without embeddings cost in Dice, and what they save.

    samunet_plan_and_preprocess -d 27 --no_embeddings
    python studies/window_step.py -d 27 --output studies/results/window_step.jsonl

One `hybrid_off` without embeddings, trained on 5 cases of fold 1, predicts validation cases of folds 1 and 2 at several
steps along all three axes, on one core. It saw none of them: training cases' patients are left out. Dice is taken on
the plan's grid, seconds are of the processor, for the sliding window alone. Each case appends one line to `--output`; a
case that has a line is not predicted again. Where two steps lay the same windows, the answer is taken over. A finished
model in samunet_results is used.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from record import append, facts

from samunet.benchmarking.jobs import TRAINED_BY
from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.paths import Paths, find_dataset, resolve_paths
from samunet.evaluation.case_metrics import case_overlap
from samunet.files import read_json
from samunet.inference.model_folder import TrainedModel, load_model
from samunet.inference.predictor import predict_case
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.groups import kept_groups
from samunet.planning.tiles import tile_grid, window_starts
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.store import ArrayStore
from samunet.training.experiment import run_folder
from samunet.training.run import ensure_trained
from samunet.training.settings import Request

STEPS = (0.5, 0.75, 1.0)
FOLD, VALIDATED, SHOTS = "1", (1, 2), 5
SETTINGS = {"transport": "off", "embeddings": "off"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--minutes", type=float, default=3.0, help="of training the model (default: %(default)s)")
    parser.add_argument("--cases", type=int, default=12, help="most cases to predict (default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="a JSON line is appended for each case")
    options = parser.parse_args()
    torch.set_num_threads(1)
    paths = resolve_paths()
    name = find_dataset(paths.raw, options.dataset).name
    model, learned = trained(options.dataset, options.minutes, paths)
    done = {line["case"] for line in stored(options.output)}
    store = ArrayStore(paths.preprocessed / name / DEFAULT_PLANS_NAME / "arrays")
    for case in unseen(paths.preprocessed / name, learned["train_cases"])[: options.cases]:
        if case not in done:
            rows = measured(model, store.load(case))
            print(case, *(f"{step} {row['dice']:.4f}" for step, row in rows.items()), flush=True)
            append(options.output, facts() | {"dataset": name, "case": case, "iterations": learned["settings"][
                "iterations"], "steps": rows})


def trained(dataset: str, minutes: float, paths: Paths) -> tuple[TrainedModel, dict[str, Any]]:
    """The model and the record of its run; trained where there is none."""
    request = Request(dataset, "hybrid", FOLD, DEFAULT_ENCODER, DEFAULT_PLANS_NAME, minutes=minutes, shots=SHOTS,
                      validate=False, settings=SETTINGS)
    folder = run_folder(request, paths)
    if not folder.final.exists():
        ensure_trained(request, paths, trained_by=TRAINED_BY, workers=1)
    return load_model(folder.parent, [FOLD], torch.device("cpu")), read_json(folder.final / "run.json")


def stored(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def unseen(preprocessed: Path, learned: Sequence[str]) -> list[str]:
    """One case of each patient whom the model has not seen, of both folds in turn."""
    groups = kept_groups(preprocessed) or {}
    splits = read_json(preprocessed / "splits_final.json")
    seen = {groups.get(name, name) for name in learned}
    folds = [{groups.get(name, name): name for name in splits[fold]["val"]} for fold in VALIDATED]
    return [patients[patient] for patients, patient in alternating(folds) if patient not in seen]


def alternating(folds: Sequence[Mapping[str, str]]) -> Iterator[tuple[Mapping[str, str], str]]:
    pairs = ([(patients, patient) for patient in sorted(patients)] for patients in folds)
    return (pair for pair in chain.from_iterable(zip_longest(*pairs)) if pair is not None)


def measured(model: TrainedModel, case: PreparedCase) -> dict[str, dict[str, float]]:
    """Mean Dice of the classes, windows and processor seconds by step."""
    rows: dict[tuple[Any, ...], dict[str, float]] = {}
    steps = {step: windows(model, case, step) for step in STEPS}
    for step, places in steps.items():
        if places not in rows:
            rows[places] = {"windows": len(places), **predicted(model, case, step)}
    return {str(step): rows[places] for step, places in steps.items()}


def windows(model: TrainedModel, case: PreparedCase, step: float) -> tuple[Any, ...]:
    """(slice, (row, column)) of every window's start."""
    depth, rows, columns = model.variants[0].volume.shape  # type: ignore[attr-defined]
    shape = case.image.shape[1:]
    return tuple((first, tile) for first in window_starts(shape[0], depth, step)
                 for tile in tile_grid(shape[1:], (rows, columns), step))


def predicted(model: TrainedModel, case: PreparedCase, step: float) -> dict[str, float]:
    started = time.process_time()
    slabs = [slab for _, slab in predict_case(model.variants, case, model.plans, None, step=step)]
    seconds = time.process_time() - started
    found = model.labels.decode(np.concatenate(slabs, 1), threshold=0.0)
    assert case.segmentation is not None
    overlap = case_overlap(np.maximum(case.segmentation, 0), found, model.labels)
    return {"dice": mean(scores["Dice"] for scores in overlap.values()), "seconds": seconds}


if __name__ == "__main__":
    main()
