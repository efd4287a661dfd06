"""Finished jobs as the benchmark's `Result`: from a cases.csv, or from the lines of several sittings."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samunet.benchmarking.results import METRICS, Cases, Result
from samunet.evaluation.report import number_of

if TYPE_CHECKING:
    from sittings import Key

KEPT = ("Dice", "HD95_mm", "ASSD_mm")  # of METRICS, what a line holds


def from_csv(path: Path) -> list[Result]:
    """The results of a benchmark, in the order of its cases.csv."""
    found: dict[tuple[str, str], dict[int, Cases]] = {}
    with path.open(encoding="utf-8", newline="") as stream:
        for line in csv.DictReader(stream):
            cases = found.setdefault((line["method"], line["shots"]), {}).setdefault(int(line["draw"]), {})
            cases.setdefault(line["case"], {})[line["class"]] = {
                metric: float(line[metric] or "nan") for metric in METRICS}
    return [_result(method, labelled, draws) for (method, labelled), draws in found.items()]


def from_lines(records: Mapping[Key, Mapping[str, Any]], folds: Sequence[str]) -> list[Result]:
    """One result for each row and number of shots; `missing` names the folds of `folds` that have no line."""
    found: dict[tuple[str, int | None], dict[int, Cases]] = {}
    there: dict[tuple[str, int | None], set[str]] = {}
    for key, record in records.items():
        if key.fold in folds:
            found.setdefault((key.row, key.shots), {}).setdefault(key.draw, {}).update(decoded(record["cases"]))
            there.setdefault((key.row, key.shots), set()).add(key.fold)
    return [Result(row, shots, draws, {}, tuple(fold for fold in folds if fold not in there[row, shots]), variant=row)
            for (row, shots), draws in found.items()]


def encoded(cases: Cases) -> dict[str, dict[str, dict[str, float | str | None]]]:
    """The metrics that a line holds, as metrics.json writes them: null is undefined, "Infinity" infinite."""
    return {case: {label: {metric: _strict(values.get(metric, math.nan)) for metric in KEPT}
                   for label, values in classes.items()} for case, classes in cases.items()}


def decoded(cases: Mapping[str, Any]) -> Cases:
    """What `encoded` was given, of the metrics that it holds."""
    return {case: {label: {metric: number_of(value) for metric, value in values.items()}
                   for label, values in classes.items()} for case, classes in cases.items()}


def chosen(results: Iterable[Result], method: str, shots: int | None) -> Result | None:
    """The result of a method at a number of shots, if there is one with all slices."""
    return next((each for each in results if (each.method, each.shots, each.slices) == (method, shots, None)), None)


def _result(method: str, labelled: str, draws: dict[int, Cases]) -> Result:
    count, _, slices = labelled.partition(" (")
    return Result(method, None if count == "all" else int(count), draws, {},
                  slices=int(slices.split()[0]) if slices else None)


def _strict(value: float) -> float | str | None:
    return None if math.isnan(value) else "Infinity" if math.isinf(value) else round(value, 5)
