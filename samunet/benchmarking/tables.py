"""The benchmark's results as tables: a CSV file with every value, and a Markdown summary."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean
from typing import Any

from samunet.benchmarking.comparison import Comparison, summarise, worst_cases
from samunet.benchmarking.results import METRICS, Result

UNITS = {"HD95_mm": "HD95 mm", "ASSD_mm": "ASSD mm", "absolute_volume_error_ml": "volume error ml"}
COLUMNS = ("method", "shots", "draw", "case", "class", *METRICS)


def cases_csv(results: Sequence[Result]) -> str:
    """One line for each method, number of shots, draw, case and class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for result in results:
        for draw, cases in result.cases.items():
            for case, classes in sorted(cases.items()):
                for label, values in classes.items():
                    writer.writerow([result.method, result.labelled, draw, case, label,
                                     *(values.get(metric, "") for metric in METRICS)])
    return text.getvalue()


def summary_rows(
    results: Sequence[Result], comparisons: Sequence[Comparison], groups: Mapping[str, str] | None
) -> Iterator[dict[str, Any]]:
    """One row for each result: column name -> text. A result without a complete draw gives the reason."""
    against = {(each.method, each.shots): each for each in comparisons}
    for result in results:
        row: dict[str, Any] = {"method": result.method, "shots": result.labelled}
        if not result.cases:
            yield row | {"Dice": "not run", "why": "; ".join(result.missing)}
            continue
        for metric in METRICS:
            found = summarise(result, metric, groups)
            name = UNITS.get(metric, metric)
            digits = 3 if metric in ("Dice", "IoU", "NSD") else 2
            row[name] = "-" if found is None else (
                f"{found.interval.mean:.{digits}f} [{found.interval.low:.{digits}f}, {found.interval.high:.{digits}f}]"
                + (f" ({found.infinite} infinite)" if found.infinite else ""))
            if metric == "Dice" and found is not None:
                row["spread"] = f"{found.spread:.3f}"
                row["draws"] = ", ".join(f"{value:.3f}" for value in found.draws.values())
        if (compared := against.get((result.method, result.shots))) is not None:
            row |= {"difference": str(compared.interval), "p (Holm)": f"{compared.adjusted:.2g}",
                    "not inferior": "yes" if compared.non_inferior else "no"}
        yield row | _costs(result) | {"worst": ", ".join(f"{case} {dice:.2f}" for case, dice in worst_cases(result)),
                                      "why": "; ".join(result.missing)}


def label_rows(
    results: Sequence[Result], labels: Mapping[str, str], groups: Mapping[str, str] | None
) -> Iterator[dict[str, str]]:
    """One row for each result with cases: mean Dice, then mean HD95 in mm, of each label; "-" where none is finite.

    Arguments:
        labels: class key, as in `Cases`, -> the label's name.
    """
    for result in results:
        if result.cases:
            row = {"method": result.method, "shots": result.labelled}
            for metric, digits in (("Dice", 3), ("HD95_mm", 2)):
                for key, name in labels.items():
                    found = summarise(result, metric, groups, key)
                    value = "-" if found is None else f"{found.interval.mean:.{digits}f}"
                    row[f"{UNITS.get(metric, metric)} {name}"] = value
            yield row


def markdown(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A Markdown table with the columns that at least one row has."""
    shown = [column for column in columns if any(row.get(column) for row in rows)]
    lines = ["| " + " | ".join(shown) + " |", "|" + "---|" * len(shown)]
    lines += ["| " + " | ".join(str(row.get(column, "")) for column in shown) + " |" for row in rows]
    return "\n".join(lines)


def _costs(result: Result) -> dict[str, str]:
    """Training time (with pretraining and embeddings) and validation time, averaged over runs; memory and parameters.

    Empty for an imported model, which has no runs.
    """
    runs = list(result.runs.values())
    if not runs:
        return {}
    training = [sum(seconds for part, seconds in run["seconds"].items() if part != "validation") for run in runs]
    memory = [max(run["peak_memory_mb"].values()) for run in runs if run.get("peak_memory_mb")]
    return {
        "training s": f"{mean(training):.0f}",
        "validation s": f"{mean(run['seconds'].get('validation', 0.0) for run in runs):.0f}",
        "memory MB": f"{max(memory):.0f}" if memory else "",
        "parameters": f"{max(run['trainable_parameters'] for run in runs):,}",
        "labels": str(max(len(run["train_cases"]) for run in runs)),
    }
