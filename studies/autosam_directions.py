"""Whether the findings of the AutoSAM paper hold here, one by one, from the cases.csv of a benchmark.

    samunet_benchmark -d 4 --variants label_prior atlas linear_head cnn_head autosam autosam_full unet unet_simclr \\
        --shots 1 5 --folds 0 --minutes_head 2 --minutes_network 5
    python studies/autosam_directions.py -d 4 --output studies/results/autosam_directions.jsonl

Hu et al., arXiv 2306.06370, on ACDC with 1 and 5 volumes: the CNN head about equals AutoSAM, both are above the linear
head; AutoSAM on the frozen encoder is above AutoSAM with all fine-tuned; SimCLR is at least the U-Net from scratch;
AutoSAM has the best ASSD.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from case_results import from_csv
from record import append, facts

from samunet.benchmarking.results import Result
from samunet.cli.options import add_paths, paths_of
from samunet.dataset.paths import find_dataset
from samunet.evaluation.statistics import Interval, paired_differences, paired_interval
from samunet.planning.groups import kept_groups

# Metric, the method that should do better, and the one that should do worse.
DIRECTIONS = (
    ("Dice", "cnn_head", "linear_head"), ("Dice", "autosam", "linear_head"), ("Dice", "autosam", "autosam_full"),
    ("Dice", "unet_simclr", "unet"), ("ASSD_mm", "autosam", "cnn_head"), ("ASSD_mm", "autosam", "linear_head"),
    ("ASSD_mm", "autosam", "autosam_full"), ("ASSD_mm", "autosam", "unet"), ("ASSD_mm", "autosam", "unet_simclr"))
EQUAL = ("cnn_head", "autosam")
MARGIN = 0.02  # of Dice, within which two are about equal: the benchmark's margin of non-inferiority
Scores = dict[str, float]  # of each case, the mean over its classes


@dataclass(frozen=True)
class Row:
    """One direction at one number of cases; `left_out` are cases where a distance is infinite, a class being empty."""

    shots: str
    metric: str
    better: str
    worse: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    left_out: int
    verdict: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--shots", nargs="+", default=["1", "5"])
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    add_paths(parser)
    options = parser.parse_args()
    paths = paths_of(options)
    name = find_dataset(paths.raw, options.dataset).name
    scores = scores_of(from_csv(paths.results / name / "benchmark" / "cases.csv"))
    groups = kept_groups(paths.preprocessed / name)
    rows = []
    for shots in options.shots:
        for metric, better, worse in DIRECTIONS:
            rows.append(compared(scores, groups, shots, metric, better, worse))
        rows.append(compared(scores, groups, shots, "Dice", *EQUAL))
    print("| cases | should do better | than | by | has | has | difference | |\n|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row.shots} | `{row.better}` | `{row.worse}` | {row.metric} | {row.first:.3f} | {row.second:.3f} | "
              f"{row.difference:+.3f} [{row.low:+.3f}, {row.high:+.3f}] | {row.verdict}"
              + (f" ({row.left_out} of the cases left out: infinite)" if row.left_out else "") + " |")
    append(options.output, facts() | {"rows": [asdict(row) for row in rows]})


def scores_of(results: Iterable[Result]) -> dict[tuple[str, str, str], dict[int, Scores]]:
    """(method, shots, metric) -> draw -> case -> the mean over its classes; infinite where one of them is."""
    return {(result.method, result.labelled, metric): {draw: result.scores(draw, metric) for draw in result.cases}
            for result in results for metric in ("Dice", "ASSD_mm")}


def compared(
    scores: dict[tuple[str, str, str], dict[int, Scores]], groups: dict[str, str] | None, shots: str, metric: str,
    better: str, worse: str,
) -> Row:
    """One direction: the paired difference over draws and patients, and what it says.

    Of the cases that both have, those count whose values are finite in both.

    Raises:
        ValueError: there is none.
    """
    first, second = scores[better, shots, metric], scores[worse, shots, metric]
    pairs, left_out, means_of_draws = [], 0, []
    for draw in sorted(first.keys() & second.keys()):
        common = [case for case in first[draw] if case in second[draw]]
        both = [case for case in common if math.isfinite(first[draw][case]) and math.isfinite(second[draw][case])]
        left_out += len(common) - len(both)
        if not both:
            continue
        one, other = ({case: each[draw][case] for case in both} for each in (first, second))
        pairs.append(paired_differences(one, other, groups))
        means_of_draws.append((np.mean(list(one.values())), np.mean(list(other.values()))))
    interval = paired_interval(pairs)
    means = np.mean(means_of_draws, axis=0)
    is_equality = (better, worse) == EQUAL and metric == "Dice"
    outcome = equal(interval) if is_equality else verdict(interval, smaller=metric == "ASSD_mm")
    return Row(shots, metric, better, worse, float(means[0]), float(means[1]), interval.mean, interval.low,
               interval.high,
               left_out, outcome)


def verdict(interval: Interval, *, smaller: bool) -> str:
    """Whether the direction holds, by the interval."""
    low, high = (-interval.high, -interval.low) if smaller else (interval.low, interval.high)
    return "holds" if low > 0 else "the other way round" if high < 0 else "not significant"


def equal(interval: Interval) -> str:
    """Whether two are about equal: the whole interval within MARGIN, or beyond it on one side."""
    if interval.low >= -MARGIN and interval.high <= MARGIN:
        return "about equal"
    return "not equal" if interval.low > MARGIN or interval.high < -MARGIN else "not decided"


if __name__ == "__main__":
    main()
