"""Our `unet` against nnU-Net's own training of the same `2d` configuration and cases, run beside run.

    python studies/unet_against_nnunet.py -d 4 -o work --output studies/results/unet_against_nnunet.jsonl

Run s is `samunet_train` with seed s and one training of nnU-Net, which has no seed, on the same cases of one fold for
the same iterations. nnU-Net is called through `samunet.benchmarking.nnunet`: its own commands, a plans file that is a
copy of its own with its reference batch of 12, and an external trainer that compresses its schedule to the iterations.
The batch of `unet` is 12 by rule; a run in which the two differ is refused. Both predict the fold's validation cases
with mirroring, nnU-Net's default, by their ordinary commands, and are scored on the cases' own grids by one evaluator.

The two of a run go side by side, one thread of torch each; nnU-Net makes its batches in that thread, ours in one beside
it. Seconds of an iteration include its batch, but neither validation nor progress plots. Processor seconds are
independent of the other load of the machine. Finished parts are reused: run the same command again to continue.

The rule, fixed beforehand: decided only if nnU-Net's mean Dice is 0.5 or more; then the means agree if they differ by
at most 0.02 or twice the pooled standard error of the difference, whichever is larger.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from math import sqrt
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, variance
from typing import Any

import torch
from record import append, facts

from samunet.benchmarking.jobs import Benchmark, Job
from samunet.benchmarking.nnunet import link_images, run_nnunet
from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.cli.plan_and_preprocess import main as plan_and_preprocess
from samunet.cli.predict import main as predict
from samunet.dataset.dataset import load_dataset
from samunet.dataset.io.readers import choose_reader
from samunet.dataset.paths import Paths, find_dataset, resolve_paths
from samunet.evaluation.evaluate import evaluate_folder
from samunet.files import read_json, write_json
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.training.experiment import open_experiment
from samunet.training.run import ensure_trained
from samunet.training.settings import Request
from samunet.training.trainer import WARM_UP_ITERATIONS, seconds_per_iteration
from samunet.variants.base import TrainedVariant

OURS, THEIRS = "unet", "nnunet_2d"
LEARNED = 0.5  # Dice that nnU-Net must reach for the comparison to say anything
MARGIN = 0.02  # of Dice
BATCH = 12
SECONDS = ("iteration_seconds", "iteration_processor_seconds")
TIMED, TIMING = 40, "timing.json"  # iterations
# nnU-Net predicts with as many threads as there are processors; passive ones do not take them while they wait.
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE",
           "nnUNet_n_proc_DA": "0"}


def main() -> None:
    options = parsed()
    os.environ.update(THREADS)  # read by the processes that are started from here
    paths = paths_of(options, None)
    folders = ["--raw", str(paths.raw), "--preprocessed", str(paths.preprocessed)]
    if code := plan_and_preprocess(["-d", options.dataset, "--no_embeddings", *folders]):
        sys.exit(code)
    for run in range(options.runs):
        side_by_side((train_ours, train_theirs), options, run)
    rows = {variant: [figures(options, variant, run) for run in range(options.runs)] for variant in (OURS, THEIRS)}
    found = verdict(*([row["dice"] for row in rows[variant]] for variant in (OURS, THEIRS)))
    seconds = {variant: {key: mean(row[key] for row in each) for key in SECONDS} for variant, each in rows.items()}
    print(markdown(rows, found, seconds))
    append(options.output, facts() | {
        "dataset": options.dataset, "fold": options.fold, "shots": options.shots, "iterations": options.iterations,
        **found, "seconds": seconds, "versions": {name: metadata.version(name) for name in ("nnunetv2", "torch")},
        "rows": rows})


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("-o", dest="work", type=Path, required=True, help="preprocessed data and all runs")
    parser.add_argument("--fold", default="1")
    parser.add_argument("--shots", type=int, help="labelled cases, draw s for run s (default: all of the fold)")
    parser.add_argument("--runs", type=int, default=3, help="2 or more")
    parser.add_argument("--iterations", type=int, default=500, help="a multiple of 10, nnU-Net's epoch here")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    if options.runs < 2 or options.iterations % 10:
        parser.error("--runs must be 2 or more, --iterations a multiple of 10")
    return options


def paths_of(options: argparse.Namespace, run: int | None) -> Paths:
    """Runs differ in nothing that names a result folder, so that each has a root of its own."""
    results = "results" if run is None else f"run{run}"
    return resolve_paths(None, options.work / "preprocessed", options.work / results)


def job_of(options: argparse.Namespace, variant: str, run: int) -> tuple[Benchmark, Job]:
    """One training, as samunet_benchmark would ask for it: so both get the same cases."""
    benchmark = Benchmark(
        dataset=options.dataset, variants=(OURS, THEIRS), folds=(options.fold,), shots=(options.shots,),
        draws=options.runs, encoder=DEFAULT_ENCODER, plans_name=DEFAULT_PLANS_NAME, device="cpu", seed=run,
        iterations=options.iterations)
    return benchmark, Job(variant, options.fold, options.shots, 0 if options.shots is None else run)


def side_by_side(
    parts: Sequence[Callable[[argparse.Namespace, int], None]], options: argparse.Namespace, run: int
) -> None:
    """All parts of a run at once, each in a process of its own."""
    started = [get_context("spawn").Process(target=part, args=(options, run)) for part in parts]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        sys.exit(1)


def train_ours(options: argparse.Namespace, run: int) -> None:
    """Train `unet`, then predict the validation cases once more with mirroring, which validation leaves out."""
    (benchmark, job), paths = job_of(options, OURS, run), paths_of(options, run)
    ensure_trained(benchmark.request(job), paths, trained_by="samunet_benchmark", workers=1)
    folder, dataset = benchmark.folder(job, paths), load_dataset(find_dataset(paths.raw, options.dataset))
    if not (folder / TIMING).is_file():
        write_json(folder / TIMING, {"processor_seconds": processor_seconds(benchmark.request(job), paths)})
    mirrored, names = folder / "mirrored", read_json(folder / "run.json")["val_cases"]
    if (mirrored / "summary.json").is_file():
        return
    for case in dataset.cases:
        if case.name in names:
            link_images(case, folder / "images", dataset.file_ending, choose_reader(dataset))
    if code := predict(["-m", str(folder.parent), "-f", options.fold, "-i", str(folder / "images"), "-o", str(mirrored),
                        "--tta", "--continue_prediction", "-device", "cpu"]):
        sys.exit(code)
    references = paths.preprocessed / dataset.name / "gt_segmentations"
    evaluate_folder(references, mirrored, dataset.labels, dataset.file_ending, choose_reader(dataset), None, 1,
                    names=names)


def processor_seconds(request: Request, paths: Paths) -> float:
    """Of one iteration, the mean over a few at the start of a training that is not kept."""
    experiment = open_experiment(request, paths)
    variant = experiment.build_variant()
    assert isinstance(variant, TrainedVariant)
    batches, started = variant.batches(experiment.data({"seconds": {}})), time.process_time()
    seconds_per_iteration(variant, batches, torch.device("cpu"), TIMED - WARM_UP_ITERATIONS)
    return (time.process_time() - started) / TIMED


def train_theirs(options: argparse.Namespace, run: int) -> None:
    """Train nnU-Net and predict the validation cases, all by its own commands."""
    run_nnunet(*job_of(options, THEIRS, run), paths_of(options, run))


def figures(options: argparse.Namespace, variant: str, run: int) -> dict[str, Any]:
    """The record of one training."""
    benchmark, job = job_of(options, variant, run)
    folder = benchmark.folder(job, paths_of(options, run))
    content = read_json(folder / "run.json")
    settings = content["settings"]
    if settings["iterations"] != options.iterations or settings["batch_size"] != BATCH:
        sys.exit(f"{folder}: {settings['iterations']} iterations with a batch of {settings['batch_size']}, not "
                 f"{options.iterations} with {BATCH}. nnU-Net plans a smaller batch for few cases; leave --shots out.")
    ours, plain = variant == OURS, read_json(folder / "validation" / "summary.json")
    summary = read_json(folder / "mirrored" / "summary.json") if ours else plain
    if ours:
        seconds = content["seconds"]["training"] / settings["iterations"]
        processor = read_json(folder / TIMING)["processor_seconds"]
    else:
        alone = content["budget"]["training_alone"]
        seconds, processor = (alone[key] / alone["iterations"] for key in ("seconds", "processor_seconds"))
    return {
        "run": run, "dice": summary["foreground_mean"]["Dice"],
        "dice_of_labels": {label: metrics["Dice"] for label, metrics in summary["mean"].items()},
        "dice_without_mirroring": plain["foreground_mean"]["Dice"] if ours else None,
        "iteration_seconds": seconds, "iteration_processor_seconds": processor,
        "training_seconds": content["seconds"]["training"], "threads": content["threads"],
        "batch_size": settings["batch_size"], "trainable_parameters": content["trainable_parameters"],
        "train_cases": len(content["train_cases"]), "val_cases": len(content["val_cases"]),
    }


def verdict(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, Any]:
    """The rule above, on the mean Dice of each run; as many runs of one as of the other."""
    error = sqrt((variance(ours) + variance(theirs)) / len(ours))
    difference, limit = mean(ours) - mean(theirs), max(MARGIN, 2 * error)
    return {"mean_dice": {OURS: mean(ours), THEIRS: mean(theirs)}, "difference": difference,
            "pooled_standard_error": error, "limit": limit, "decided": mean(theirs) >= LEARNED,
            "within": abs(difference) <= limit}


def markdown(rows: dict[str, list[dict[str, Any]]], found: dict[str, Any], seconds: dict[str, Any]) -> str:
    """A table of the runs and one line of verdict."""
    lines = ["| | mean Dice | each run | seconds an iteration | of a processor |", "|---|---|---|---|---|"]
    for variant, each in rows.items():
        dice = ", ".join(f"{row['dice']:.4f}" for row in each)
        lines.append(f"| `{variant}` | {found['mean_dice'][variant]:.4f} | {dice} | "
                     + " | ".join(f"{each:.3f}" for each in seconds[variant].values()) + " |")
    lines += ["", (f"Difference {found['difference']:+.4f}, limit {found['limit']:.4f}: decided {found['decided']}, "
                   f"within {found['within']}.")]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
