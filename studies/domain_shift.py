"""What a shift of the images costs, and what one and five labelled target cases win back; split by patient.

    python studies/domain_shift.py --source raw/Dataset004_Hippocampus -o work \\
        --output studies/results/domain_shift.jsonl

Each method trains on float32 patients of the hippocampus data and is tested without tuning on uint8 patients and on
other float32 patients: unchanged, with inverted contrast, 3 mm slices, a bias field and noise. Then it is fine-tuned
with 1 and with 5 target cases of each (`samunet_train -pretrained_weights`). nnU-Net cannot be fine-tuned with another
plan, so its rows of 1 and 5 cases are trained from scratch. Iterations are fixed beforehand, minutes are reported, and
no test case decides anything. See shifted_cases.py for cases and shifts.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from commands import call, trained, work_in
from encoder_gain import case_dice
from record import append, facts
from shifted_cases import NAME, NUMBER, SHIFTS, TUNING, fold_of, make_dataset, shift_of

from samunet.benchmarking.nnunet import NnunetRun
from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.dataset import load_dataset
from samunet.dataset.paths import resolve_paths
from samunet.files import read_json
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.splits import labelled_names, read_splits
from samunet.variants.registry import entry

NNUNET = "nnunet_2d"
METHODS = ("3d_adapter", "unet", NNUNET)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="the hippocampus dataset's folder")
    parser.add_argument("-o", dest="work", type=Path, required=True,
                        help="the dataset of all shifts, its arrays and all runs")
    parser.add_argument("--methods", nargs="+", default=METHODS,
                        help=f"variants, or {NNUNET} (default: {' '.join(METHODS)})")
    parser.add_argument("--shifts", nargs="+", choices=SHIFTS, default=SHIFTS, help="to tune to (default: all)")
    parser.add_argument("--test", type=int, default=10, help="test patients of each target (default: 10)")
    parser.add_argument("--iterations", type=int, default=600, help="on the source; a multiple of 10 (default: 600)")
    parser.add_argument("--tuning", type=int, default=200,
                        help="iterations on target cases; a multiple of 10 (default: 200)")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    work_in(options.work)
    make_dataset(options.source, options.work / "raw", options.test)
    embeddings = any(method != NNUNET and entry(method).reads_embeddings for method in options.methods)
    call("plan_and_preprocess", "-d", NUMBER, *([] if embeddings else ["--no_embeddings"]))
    rows = [row for method in options.methods for row in measured(method, options)]
    columns = [str(labelled) for labelled in TUNING]
    print(f"| method | target | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
    for method in options.methods:
        for shift in SHIFTS:
            dice = {row["labelled"]: f"{row['dice'][shift]:.3f}" for row in rows if row["method"] == method
                    and shift in row["dice"]}
            print(f"| `{method}` | {shift} | {' | '.join(dice.get(labelled, '') for labelled in TUNING)} |")
    append(options.output, facts() | {"encoder": DEFAULT_ENCODER, "test_patients": options.test,
                                      "iterations": options.iterations,
                                      "tuning_iterations": options.tuning, "rows": rows})


def measured(method: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """The untouched model on all targets, then each tuned one on its own."""
    untouched = run(method, "0", options.iterations, None)
    rows = [row_of(method, 0, untouched)]
    for shift in options.shifts:
        for labelled in TUNING[1:]:
            start = untouched / "checkpoint_final.safetensors"
            rows.append(row_of(method, labelled, run(method, fold_of(shift, labelled), options.tuning, start)))
    return rows


def run(method: str, fold: str, iterations: int, start: Path | None) -> Path:
    """Train one fold, from the weights `start` on where the method can, and validate it; the folder of the run."""
    if method == NNUNET:
        return nnunet(fold, iterations)
    flags = ["--iterations", str(iterations), *([] if start is None else ["-pretrained_weights", str(start)])]
    return trained(NUMBER, method, fold, DEFAULT_PLANS_NAME, *flags)


def nnunet(fold: str, iterations: int) -> Path:
    """nnU-Net's 2D configuration on the same cases, from nothing."""
    paths = resolve_paths()
    dataset = load_dataset(paths.raw / NAME)
    split = read_splits(paths.raw / NAME / "splits_final.json", labelled_names(dataset))[int(fold)]
    folder = paths.results / NAME / NNUNET / f"fold_{fold}"
    NnunetRun(dataset, "2d", tuple(split["train"]), tuple(split["val"]), iterations, None, "cpu")(folder)
    return folder


def row_of(method: str, labelled: int, folder: Path) -> dict[str, Any]:
    """What is recorded of one run: mean Dice on the test cases of each target, and what it took."""
    dice = defaultdict(list)
    for case, value in case_dice(read_json(folder / "validation" / "summary.json")).items():
        dice[shift_of(case)].append(value)
    record = read_json(folder / "run.json")
    return {"method": method, "labelled": labelled,
            "dice": {shift: float(np.mean(each)) for shift, each in dice.items()},
            "cases": {shift: len(each) for shift, each in dice.items()}, "train_cases": len(record["train_cases"]),
            "iterations": record["settings"]["iterations"], "minutes": record["seconds"]["training"] / 60,
            "threads": record["threads"]}


if __name__ == "__main__":
    main()
