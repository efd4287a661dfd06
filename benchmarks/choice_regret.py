"""What the choice of `samunet_find_best_configuration` costs against the best in hindsight.

    samunet_benchmark -d 4 --folds 0 --shots 5 --draws 3 ...
    python benchmarks/choice_regret.py -d 4 --fold 0 --shots 5 --draws 0 1 2 --minutes 10 --output benchmarks/results/choice_regret.jsonl

For each draw the ladder is climbed on the labelled cases alone, as the command does. Then the fold's validation cases are
looked at, in what `samunet_benchmark` left in the results folder: regret is the mean Dice of the best variant there, less that of the
chosen one, both trained as the benchmark trained them. Every variant of the benchmark is the choice's to take or leave, whether it was a
candidate or not. A chosen one that the benchmark has not trained is an error. Paths come from samunet_raw,
samunet_preprocessed and samunet_results.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean
from typing import Any

from record import append, facts

from samunet.benchmark.choice import Search, choose
from samunet.benchmark.ladder import COMPARATORS, LADDER
from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.paths import Paths, find_dataset, resolve_paths
from samunet.files import read_json
from samunet.networks.checkpoints import encoder_spec
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.shots import draw_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--fold", required=True)
    parser.add_argument("--shots", type=int, required=True)
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, of each choice (default: 10)")
    parser.add_argument("--variants", nargs="+", default=[*COMPARATORS, *LADDER], help="candidates (default: the ladder's)")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    made, rows = facts(), [regret(options, resolve_paths(), draw) for draw in options.draws]
    print("| draw | chosen | Dice | best in hindsight | Dice | regret |\n|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['draw']} | `{row['chosen']}` | {row['dice'][row['chosen']]:.4f} | `{row['best']}` | {row['dice'][row['best']]:.4f} | "
              f"{row['regret']:.4f} |")
    append(options.output, made | {"fold": options.fold, "shots": options.shots, "minutes": options.minutes, "candidates": options.variants,
                                   "mean_regret": mean(row["regret"] for row in rows), "rows": rows})


def regret(options: argparse.Namespace, paths: Paths, draw: int) -> dict[str, Any]:
    """Choose on one draw, then look."""
    search = Search(options.dataset, options.fold, tuple(options.variants), DEFAULT_ENCODER, DEFAULT_PLANS_NAME, "cpu", options.shots, draw,
                    minutes=options.minutes)
    verdict = choose(search, paths).verdict
    return {"draw": draw, "told": str(verdict)} | judged(verdict.variant, hindsight(options, paths, draw))


def hindsight(options: argparse.Namespace, paths: Paths, draw: int) -> dict[str, float]:
    """Variant -> mean Dice of the fold's validation cases, of every finished run of the draw."""
    ending = f"__{DEFAULT_PLANS_NAME}__{encoder_spec(DEFAULT_ENCODER).id}"
    fold = Path(draw_folder(options.shots, draw, None)) / f"fold_{options.fold}"
    models = (paths.results / find_dataset(paths.raw, options.dataset).name).glob(f"*{ending}")
    found = {model.name.removesuffix(ending): model / fold / "validation" / "summary.json" for model in sorted(models)}
    return {variant: read_json(summary)["foreground_mean"]["Dice"] for variant, summary in found.items() if summary.is_file()}


def judged(chosen: str, dice: dict[str, float]) -> dict[str, Any]:
    """The regret of `chosen` among the variants of `dice`."""
    if chosen not in dice:
        sys.exit(f"The chosen variant must be among the benchmark's: {chosen}, there are {', '.join(dice)}. "
                 "Run samunet_benchmark with it first.")
    best = max(dice, key=lambda variant: dice[variant])
    return {"chosen": chosen, "best": best, "regret": dice[best] - dice[chosen], "dice": dice}


if __name__ == "__main__":
    main()
