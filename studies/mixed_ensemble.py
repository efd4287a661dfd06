"""A mixed ensemble: nnU-Net 2d and samunet's `hybrid`, on the same cases, beside each of the two alone.

    python studies/mixed_ensemble.py -d 4 -o work --output studies/results/mixed_ensemble.jsonl

nnU-Net is trained by its own commands for `--nnunet_minutes` (see `samunet.benchmarking.nnunet`), `hybrid` without
embeddings for `--minutes`, both on the labelled cases of one draw. Both give probabilities of the fold's validation
cases: nnU-Net by nnUNetv2_predict_from_modelfolder with its defaults, `hybrid` by its validation. `samunet_ensemble`
averages the two folders, and nnUNetv2_ensemble the same ones; voxels with different labels are counted. Differences of
Dice are paired over patients. Finished parts are reused: run the same command again to continue.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from commands import ONE_WORKER, call, trained
from encoder_gain import case_dice
from record import append, facts

from samunet.benchmarking.jobs import Benchmark, Job
from samunet.benchmarking.nnunet import PLANS, TRAINER, link_images, run_nnunet
from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.dataset import load_dataset
from samunet.dataset.io.readers import choose_reader, reader_named
from samunet.dataset.paths import find_dataset, resolve_paths
from samunet.evaluation.evaluate import evaluate_folder
from samunet.evaluation.statistics import paired_differences, paired_interval
from samunet.files import copy_whole, make_folder, read_json
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.groups import kept_groups

OURS, THEIRS, BOTH = "hybrid", "nnunet_2d", "mixed ensemble"
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE",
           "nnUNet_n_proc_DA": "0", "nnUNet_compile": "f"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("-o", dest="work", type=Path, required=True, help="preprocessed data, models and predictions")
    parser.add_argument("--fold", default="1")
    parser.add_argument("--shots", type=int, default=5, help="labelled cases of draw 0")
    parser.add_argument("--minutes", type=float, default=2, help="training time of hybrid")
    parser.add_argument("--nnunet_minutes", type=float, default=4, help="training time of nnU-Net")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    work = options.work.resolve()
    os.environ.update(THREADS, samunet_preprocessed=str(work / "preprocessed"), samunet_results=str(work / "results"))
    call("plan_and_preprocess", "-d", options.dataset, "--no_embeddings", *ONE_WORKER)
    folders = {OURS: hybrid(options), THEIRS: nnunet(options, work), BOTH: work / "ensemble"}
    both = [folders[THEIRS], folders[OURS]]  # the first folder's plans are read, so nnU-Net's own come first
    call("ensemble", "-i", *both, "-o", folders[BOTH], *ONE_WORKER)
    theirs = work / "ensemble_nnunet"
    run_theirs("nnUNetv2_ensemble", "ensembling.ensemble:entry_point_ensemble_folders", work,
               "-i", *both, "-o", theirs, "-np", 1)
    dataset = load_dataset(find_dataset(resolve_paths().raw, options.dataset))
    preprocessed = work / "preprocessed" / dataset.name
    names = read_json(preprocessed / "splits_final.json")[int(options.fold)]["val"]
    dice = {name: case_dice(evaluate_folder(
        preprocessed / "gt_segmentations", folder, dataset.labels, dataset.file_ending, choose_reader(dataset),
        work / "scores" / name / "summary.json", 1, names=names)) for name, folder in folders.items()}
    found = compared(dice, kept_groups(preprocessed))
    differing, voxels = differing_voxels(folders[BOTH], theirs, dataset.file_ending)
    print(found, f"{differing} of {voxels} voxels differ from nnUNetv2_ensemble")
    append(options.output, facts() | {
        "fold": options.fold, "shots": options.shots,
        "minutes": {OURS: options.minutes, THEIRS: options.nnunet_minutes},
        **found, "differing_voxels": differing, "voxels": voxels, "cases": dice,
        "versions": {name: metadata.version(name) for name in ("nnunetv2", "torch")}})


def hybrid(options: argparse.Namespace) -> Path:
    """Train `hybrid`; its validation folder, with probabilities, as a folder of predictions."""
    fold = trained(options.dataset, OURS, options.fold, DEFAULT_PLANS_NAME, "--set", "embeddings=off", "--minutes",
                   str(options.minutes), "--npz", "-device", "cpu", shots=options.shots)
    for name in ("dataset.json", "plans.json"):
        copy_whole(fold.parent / name, fold / "validation" / name)
    return fold / "validation"


def nnunet(options: argparse.Namespace, work: Path) -> Path:
    """Train nnU-Net on the same cases; the folder of its predictions of the validation cases, with probabilities."""
    paths = resolve_paths()
    benchmark = Benchmark(
        dataset=options.dataset, variants=(THEIRS,), folds=(options.fold,), shots=(options.shots,), draws=1,
        encoder=DEFAULT_ENCODER, plans_name=DEFAULT_PLANS_NAME, device="cpu", minutes_network=options.nnunet_minutes)
    job, dataset = Job(THEIRS, options.fold, options.shots, 0), load_dataset(find_dataset(paths.raw, options.dataset))
    run_nnunet(benchmark, job, paths)
    fold, images, output = benchmark.folder(job, paths), work / "images", work / "nnunet"
    wanted = read_json(fold / "run.json")["val_cases"]
    if len(list(output.glob("*.npz"))) < len(wanted):
        for case in dataset.cases:
            if case.name in wanted:
                link_images(case, images, dataset.file_ending, choose_reader(dataset))
        model = fold / "results" / dataset.name / f"{TRAINER}__{PLANS}__2d"
        run_theirs("nnUNetv2_predict_from_modelfolder",
                   "inference.predict_from_raw_data:predict_entry_point_modelfolder", work, "-i", images, "-o", output,
                   "-m", model, "-f", "all", "--save_probabilities", "-npp", 1, "-nps", 1, "-device", "cpu")
    return output


def run_theirs(command: str, function: str, work: Path, *arguments: str | int | Path) -> None:
    """nnU-Net's command `command`, in a process of its own; this script ends where it fails."""
    module, _, name = function.partition(":")
    line = [command, *map(str, arguments)]
    folders = {f"nnUNet_{part}": str(make_folder(work / f"nnunet_{part}"))
               for part in ("raw", "preprocessed", "results")}
    trainers = str(Path(sys.modules[run_nnunet.__module__].__file__ or "").parent / "nnunet_trainers")
    code = f"import sys; from nnunetv2.{module} import {name}; sys.argv = {line!r}; {name}()"
    if subprocess.run([sys.executable, "-c", code], check=False,
                      env={**os.environ, **folders, "nnUNet_extTrainer": trainers}).returncode:
        sys.exit(f"{command} failed")


def compared(dice: Mapping[str, Mapping[str, float]], groups: Mapping[str, str] | None) -> dict[str, Any]:
    """Mean Dice of each method, with its interval over patients, and the ensemble minus each of the two alone."""
    zero = dict.fromkeys(dice[BOTH], 0.0)
    pairs = {name: paired_interval([paired_differences(each, zero, groups)]) for name, each in dice.items()}
    gains = {name: paired_interval([paired_differences(dice[BOTH], dice[name], groups)]) for name in (OURS, THEIRS)}
    return {"dice": {name: vars(each) for name, each in pairs.items()},
            "gain": {name: vars(each) for name, each in gains.items()}}


def differing_voxels(first: Path, second: Path, ending: str) -> tuple[int, int]:
    """How many voxels of two folders' segmentations have different labels, and how many there are.

    Raises:
        ValueError: the folders have different cases.
    """
    names = sorted(path.name for path in first.glob(f"*{ending}"))
    if not names or names != sorted(path.name for path in second.glob(f"*{ending}")):
        raise ValueError(f"{first} and {second} have different cases")
    differing = voxels = 0
    for name in names:
        one, other = (reader_named("SimpleITKIO").read_segmentation(folder / name)[0] for folder in (first, second))
        differing, voxels = differing + int(np.count_nonzero(one != other)), voxels + one.size
    return differing, voxels


if __name__ == "__main__":
    main()
