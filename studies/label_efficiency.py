"""Plot of Dice over the number of labelled cases, from the rows of `samunet_benchmark` in the records of some commits.

    python studies/label_efficiency.py studies/results/benchmark_hippocampus.jsonl --commits 8cac5c9 5316a79 \\
        --output documentation/label_efficiency.png

If several commits have a row of the same method and number of cases, the one named last is plotted.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

INTERVAL = re.compile(r"([\d.]+) \[([\d.]+), ([\d.]+)\]")  # as samunet_benchmark writes it: 0.829 [0.810, 0.844]
ALL = "all"

Point = tuple[float, float, float]  # mean, low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("--commits", nargs="+", required=True, help="beginnings of the commits whose rows are plotted")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    records = [json.loads(line) for line in options.records.read_text(encoding="utf-8").splitlines()]
    draw(points(chosen(records, options.commits)), options.output)


def chosen(records: Sequence[Mapping[str, Any]], commits: Sequence[str]) -> list[Mapping[str, Any]]:
    """The records of these commits, those of the first first."""
    return [record for commit in commits for record in records if record["commit"].startswith(commit)]


def points(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Point]]:
    """Method -> labelled cases -> Dice with its interval, the last one.

    Without rows of labelled slices or without Dice.
    """
    found: dict[str, dict[str, Point]] = {}
    for record in records:
        for row in record["rows"]:
            read = INTERVAL.match(row["Dice"])
            if read and (row["shots"].isdigit() or row["shots"] == ALL):
                mean, low, high = map(float, read.groups())
                found.setdefault(row["method"], {})[row["shots"]] = mean, low, high
    return found


def draw(methods: Mapping[str, Mapping[str, Point]], output: Path) -> None:
    """A line for each method, labelled cases evenly spaced in ascending order, `all` last."""
    shots = sorted({count for of_method in methods.values() for count in of_method},
                   key=lambda count: (count == ALL, count.zfill(9)))
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.subplots()
    for method, of_method in methods.items():
        known = [count for count in shots if count in of_method]
        means, lows, highs = zip(*(of_method[count] for count in known), strict=True)
        errors = [[mean - low for mean, low in zip(means, lows, strict=True)],
                  [high - mean for mean, high in zip(means, highs, strict=True)]]
        axes.errorbar([shots.index(count) for count in known], means, errors, marker="o", capsize=3, label=method)
    axes.set(xlabel="labelled cases", ylabel="Dice")
    axes.set_xticks(range(len(shots)), shots)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(output, dpi=110)


if __name__ == "__main__":
    main()
