"""The two result files: nnU-Net's summary.json, and metrics.json with what nnU-Net does not measure.

summary.json has nnU-Net 2.8's layout, sorted keys and bare NaN. metrics.json is strict JSON: null is an undefined
value (both masks empty), the string "Infinity" an infinite one (one of the masks empty).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from samunet import files
from samunet.errors import UserError
from samunet.schema import decode

MEND = "Evaluate the folder again, or restore the file."
Rows = Sequence[dict[str, Any]]  # metric_per_case: {"metrics": {class: {metric: value}}, "prediction_file", ...}


@dataclass(frozen=True)
class _SummaryRow:
    reference_file: str
    metrics: dict[str, dict[str, float]]


@dataclass(frozen=True)
class _Summary:
    metric_per_case: list[_SummaryRow]


@dataclass(frozen=True)
class _MetricsRow:
    reference_file: str
    metrics: dict[str, dict[str, float | Literal["Infinity", "-Infinity"] | None]]


@dataclass(frozen=True)
class _Metrics:
    tolerance_mm: float
    metric_per_case: list[_MetricsRow]


def read_summary(path: Path) -> dict[str, Any]:
    """The content of a summary.json, samunet's or nnU-Net's.

    Raises:
        UserError: no JSON, or not the scores of cases.
    """
    content: dict[str, Any] = files.read_json(path)
    decode(_Summary, content, rule="summary.json must have nnU-Net v2's layout.", where=path, mend=MEND, finite=False)
    _require_alike(content["metric_per_case"], path)
    return content


def read_metrics(path: Path) -> dict[str, Any]:
    """The content of a metrics.json.

    Raises:
        UserError: no JSON, or not the scores of cases.
    """
    content: dict[str, Any] = files.read_json(path)
    decode(_Metrics, content, rule="metrics.json must be from samunet_evaluate_folder.", where=path, mend=MEND)
    _require_alike(content["metric_per_case"], path)
    return content


def _require_alike(rows: Rows, path: Path) -> None:
    forms = {tuple((key, *metrics) for key, metrics in row["metrics"].items()) for row in rows}
    if len(forms) != 1 or not all(len(form) > 1 for form in forms.pop()):
        raise UserError("Scores must be of one case or more, all of the same classes and metrics.", where=path,
                        found=f"{len(rows)} cases, {len(forms)} forms", mend=MEND)


def summary_content(rows: Rows) -> dict[str, Any]:
    """nnU-Net's summary: means over the cases where a metric is defined, then plain means over the classes.

    A class that no case has makes `foreground_mean` NaN, as in nnU-Net.
    """
    mean = {key: {m: _mean(_column(rows, key, m)) for m in row} for key, row in rows[0]["metrics"].items()}
    names = next(iter(mean.values()))
    foreground_mean = {m: float(np.mean([row[m] for row in mean.values()])) for m in names}
    return {"metric_per_case": list(rows), "mean": mean, "foreground_mean": foreground_mean}


def metrics_content(rows: Rows, tolerance_mm: float) -> dict[str, Any]:
    """The content of metrics.json.

    Keys: `tolerance_mm` of NSD; `mean` per class, over finite values; `infinite` and `undefined`, the numbers of cases
    that each mean leaves out; `foreground_mean`, over the classes that have a mean.
    """
    keys, names = list(rows[0]["metrics"]), list(next(iter(rows[0]["metrics"].values())))
    columns = {key: {m: _column(rows, key, m) for m in names} for key in keys}
    mean = {key: {m: _mean(c[np.isfinite(c)]) for m, c in columns[key].items()} for key in keys}
    return {
        "tolerance_mm": tolerance_mm,
        "foreground_mean": {m: _strict(_mean(np.array([mean[key][m] for key in keys]))) for m in names},
        "mean": {key: {m: _strict(value) for m, value in mean[key].items()} for key in keys},
        "infinite": {key: {m: int(np.isinf(c).sum()) for m, c in columns[key].items()} for key in keys},
        "undefined": {key: {m: int(np.isnan(c).sum()) for m, c in columns[key].items()} for key in keys},
        "metric_per_case": [
            {**row, "metrics": {k: {m: _strict(v) for m, v in r.items()} for k, r in row["metrics"].items()}}
            for row in rows
        ],
    }


def write_summary(path: Path, content: dict[str, Any]) -> None:
    """Write as nnU-Net does: sorted keys, an indent of 4, NaN bare."""
    files.write_text(path, json.dumps(content, sort_keys=True, indent=4))


def metrics_path(summary: Path) -> Path:
    """The path of the second file: metrics.json for summary.json, NAME_metrics.json for NAME.json."""
    return summary.with_name("metrics.json" if summary.name == "summary.json" else f"{summary.stem}_metrics.json")


def number_of(value: float | str | None) -> float:
    """A value of metrics.json as a number: null is NaN, "Infinity" infinity."""
    return math.nan if value is None else float(value)


def _column(rows: Rows, key: str, metric: str) -> np.ndarray:
    return np.array([row["metrics"][key][metric] for row in rows], dtype=np.float64)


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are not NaN; NaN if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else math.nan


def _strict(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"
