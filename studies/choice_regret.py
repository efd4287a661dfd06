"""Regret of the choice of `samunet_find_best_configuration` against the best variant in hindsight.

    python studies/choice_regret.py -d 4 --fold 0 --shots 5 --draws 0 1 2 --minutes 10 --commit a719045 \\
        --output studies/results/choice_regret.jsonl

For each draw, the search runs on the labelled cases, as in the command. Then the validation cases of the fold are
evaluated by the rows of `samunet_benchmark` in the records (`--records`) at `--commit`: regret is the mean Dice of the
best variant there minus that of the chosen one, both trained by the benchmark, to the three digits of the rows. The
best is taken over all variants of the benchmark, candidates or not. It is an error if the benchmark has not trained the
chosen one. Paths come from samunet_raw, samunet_preprocessed and samunet_results, which also receives the runs of the
search.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean
from typing import Any

from record import append, facts

from samunet.benchmarking.choice import Search, choose
from samunet.benchmarking.ladder import BASELINES, LADDER
from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.paths import Paths, resolve_paths
from samunet.planning.encoder_spec import DEFAULT_ENCODER

RECORDS = Path(__file__).parent / "results" / "benchmark_hippocampus.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--fold", required=True)
    parser.add_argument("--shots", type=int, required=True)
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of training, of each choice (default: 10)")
    parser.add_argument("--variants", nargs="+", default=[*BASELINES, *LADDER],
                        help="candidates (default: the ladder's)")
    parser.add_argument("--records", type=Path, default=RECORDS,
                        help="of samunet_benchmark (default: those on hippocampus)")
    parser.add_argument("--commit", required=True, help="beginning of the commit whose rows are looked at")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    options = parser.parse_args()
    records = [json.loads(line) for line in options.records.read_text(encoding="utf-8").splitlines()]
    records = [record for record in records if record["commit"].startswith(options.commit)
               and record["fold"] == options.fold]
    looked_at = {draw: hindsight(records, options.shots, draw) for draw in options.draws}
    if missing := [draw for draw, dice in looked_at.items() if not dice]:
        sys.exit(f"The records must have rows of {options.shots} shots at {options.commit}: none of draw(s) {missing}. "
                 "Run samunet_benchmark first.")
    made, rows = facts(), [regret(options, resolve_paths(), draw, looked_at[draw]) for draw in options.draws]
    print("| draw | chosen | Dice | best in hindsight | Dice | regret |\n|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['draw']} | `{row['chosen']}` | {row['dice'][row['chosen']]:.4f} | `{row['best']}` | "
              f"{row['dice'][row['best']]:.4f} | {row['regret']:.4f} |")
    append(options.output, made | {"fold": options.fold, "shots": options.shots, "minutes": options.minutes,
                                   "candidates": options.variants,
                                   "mean_regret": mean(row["regret"] for row in rows), "rows": rows})


def regret(options: argparse.Namespace, paths: Paths, draw: int, dice: Mapping[str, float]) -> dict[str, Any]:
    """Choose on one draw, then look."""
    search = Search(options.dataset, options.fold, tuple(options.variants), DEFAULT_ENCODER, DEFAULT_PLANS_NAME, "cpu",
                    options.shots, draw,
                    minutes=options.minutes)
    verdict = choose(search, paths).verdict
    return {"draw": draw, "told": str(verdict)} | judged(verdict.variant, dice)


def hindsight(records: Iterable[Mapping[str, Any]], shots: int, draw: int) -> dict[str, float]:
    """Variant -> mean Dice of the validation cases of one draw, of every row that has it.

    A row's draws are 0, 1, and so on.
    """
    found = {}
    for record in records:
        for row in record["rows"]:
            means = row["draws"].split(", ") if row["shots"] == str(shots) and "draws" in row else []
            if draw < len(means):
                found[row["method"]] = float(means[draw])
    return found


def judged(chosen: str, dice: Mapping[str, float]) -> dict[str, Any]:
    """The regret of `chosen` among the variants of `dice`."""
    if chosen not in dice:
        sys.exit(f"The chosen variant must be among the benchmark's: {chosen}, there are {', '.join(dice)}. "
                 "Run samunet_benchmark with it first.")
    best = max(dice, key=lambda variant: dice[variant])
    return {"chosen": chosen, "best": best, "regret": dice[best] - dice[chosen], "dice": dice}


if __name__ == "__main__":
    main()
