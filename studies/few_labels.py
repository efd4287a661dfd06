"""Heads and baselines on a few labelled cases of a planned dataset, draw by draw, in one table.

    samunet_plan_and_preprocess -d 4
    python studies/few_labels.py -d 4 --fold 1 --shots 5 --draws 0 1 2 --output studies/results/few_labels.jsonl

Runs `samunet_train` for every variant and draw (a finished run with the same settings is reused), then appends one
JSON line: mean Dice of all foreground classes over the fold's validation cases, HD95 and ASSD in mm, training seconds,
of each draw and as means. Paths come from samunet_raw, samunet_preprocessed and samunet_results.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from record import append, facts

from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.cli.train import main as train
from samunet.dataset.paths import find_dataset, resolve_paths
from samunet.files import read_json
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.planning.encoder_spec import DEFAULT_ENCODER

VARIANTS = ("label_prior", "atlas", "linear_head", "cnn_head", "autosam")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--fold", default="1")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=VARIANTS)
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("-p", dest="plans", default=DEFAULT_PLANS_NAME, help="plans name")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    rows = {variant: [figures(options, variant, draw) for draw in options.draws] for variant in options.variants}
    print(f"{'variant':12} {'Dice':>7} {'HD95 mm':>8} {'ASSD mm':>8} {'train s':>8}  Dice of each draw")
    for variant, draws in rows.items():
        means = [mean(draw[key] for draw in draws) for key in ("dice", "hd95_mm", "assd_mm", "train_seconds")]
        each = " ".join(f"{draw['dice']:.4f}" for draw in draws)
        print(f"{variant:12} {means[0]:7.4f} {means[1]:8.3f} {means[2]:8.3f} {means[3]:8.1f}  {each}")
    append(options.output, facts() | content(options, rows))


def figures(options: argparse.Namespace, variant: str, draw: int) -> dict[str, Any]:
    """Train (or find trained) one variant on one draw and read its figures."""
    paths = resolve_paths()
    name = f"{variant}__{options.plans}__{encoder_spec(options.encoder).id}"
    folder = paths.results / find_dataset(paths.raw, options.dataset).name / name
    folder = folder / f"shots{options.shots}_draw{draw}" / f"fold_{options.fold}"
    request = [options.dataset, variant, options.fold, "--encoder", options.encoder, "-p", options.plans,
               "--shots", str(options.shots), "--draw", str(draw)]
    # --c keeps a finished run of the same settings; where there is none, train.
    if (not folder.exists() or train([*request, "--c"])) and (code := train(request)):
        sys.exit(code)
    summary = read_json(folder / "validation" / "summary.json")
    surface = read_json(folder / "validation" / "metrics.json")
    run = read_json(folder / "run.json")
    return {
        "draw": draw,
        "dice": summary["foreground_mean"]["Dice"],
        "hd95_mm": surface["foreground_mean"]["HD95_mm"],
        "assd_mm": surface["foreground_mean"]["ASSD_mm"],
        "infinite": surface["infinite"],
        "train_seconds": run["seconds"]["training"],
        "iterations": run["settings"]["iterations"],
        "threads": run["threads"],
        "val_cases": len(run["val_cases"]),
    }


def content(options: argparse.Namespace, rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """What is recorded."""
    return {
        "fold": options.fold,
        "shots": options.shots,
        "encoder": options.encoder,
        "plans": options.plans,
        "mean_dice": {variant: mean(draw["dice"] for draw in draws) for variant, draws in rows.items()},
        "rows": rows,
    }


if __name__ == "__main__":
    main()
