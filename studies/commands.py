"""samunet's commands, called from scripts, and what their runs wrote."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from samunet.cli.train import main as train
from samunet.dataset.paths import find_dataset, resolve_paths
from samunet.files import read_json, write_json
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.shots import draw_folder

ONE_WORKER = ("-np", "1")  # cases here are so small that starting processes would cost more


def work_in(work: Path) -> None:
    """Set this process' folders of raw data, preprocessed data and results below `work`."""
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"samunet_{name}"] = str(work.resolve() / name)


def call(command: str, *arguments: str | Path) -> None:
    """`samunet_<command>`; this script ends where it ends badly."""
    if code := import_module(f"samunet.cli.{command}").main([str(argument) for argument in arguments]):
        sys.exit(code)


def plan(dataset: str, plans_name: str, *preprocess: str, **changes: dict[str, Any]) -> None:
    """Plan and preprocess under `plans_name`.

    `changes` are of sections of the encoder, edited as documentation/reference/plans.md says.
    """
    call("plan_experiment", "-d", dataset, "-plans_name", plans_name, *ONE_WORKER)
    paths = resolve_paths()
    path = paths.preprocessed / find_dataset(paths.raw, dataset).name / f"{plans_name}.json"
    content = read_json(path)
    for section, values in changes.items():
        content["encoders"][encoder_spec(DEFAULT_ENCODER).id][section].update(values)
    write_json(path, content)
    call("preprocess", "-d", dataset, "-plans_name", plans_name, *ONE_WORKER, *preprocess)


def trained(dataset: str, variant: str, fold: str, plans_name: str, *flags: str, shots: int | None = None,
            encoder: str = DEFAULT_ENCODER) -> Path:
    """`samunet_train`, unless a finished run of the same settings is there; the folder of its fold.

    Of `shots`, draw 0.
    """
    paths = resolve_paths()
    model = f"{variant}__{plans_name}__{encoder_spec(encoder).id}"
    folder = paths.results / find_dataset(paths.raw, dataset).name / model
    folder = folder / draw_folder(shots, 0, None) / f"fold_{fold}"
    arguments = [dataset, variant, fold, "-p", plans_name, "--encoder", encoder, *ONE_WORKER, *flags,
             *([] if shots is None else ["--shots", str(shots)])]
    # --c keeps a finished run of the same settings; where there is none, train.
    if not folder.exists() or train([*arguments, "--c"]):
        call("train", *arguments)
    return folder


def figures(folder: Path) -> dict[str, Any]:
    """Of a finished run: mean Dice of all classes over its validation cases, of each class, and what it took."""
    summary, run = read_json(folder / "validation" / "summary.json"), read_json(folder / "run.json")
    return {
        "dice": summary["foreground_mean"]["Dice"],
        "dice_of_labels": {label: metrics["Dice"] for label, metrics in summary["mean"].items()},
        "iterations": run["settings"]["iterations"],
        "batch_size": run["settings"]["batch_size"],
        "train_cases": len(run["train_cases"]),
        "val_cases": len(run["val_cases"]),
        "train_seconds": run["seconds"]["training"],
        "validation_seconds": run["seconds"]["validation"],
        "threads": run["threads"],
    }
