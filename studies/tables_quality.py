"""Tables of the study of predicted Dice and temperature."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from table_format import markdown, records


def predicted_dice() -> str:
    """Every record, one row for each class."""
    header = ["model", "mirrored views", "class", "cases", "real Dice", "predicted", "Pearson", "Spearman",
              "mean error", "error of the mean Dice", "commit"]
    return markdown(header, [row for record in records("quality") for row in _classes(record)])


def _classes(record: dict[str, Any]) -> Iterator[list[Any]]:
    for name, found in record["classes"].items():
        yield [_model(record), "yes" if record["tta"] else "no", name, len(found["cases"]),
               *(f"{found[key]:.3f}" for key in ("real", "predicted")),
               *("-" if found[key] is None else f"{found[key]:.2f}" for key in ("pearson", "spearman")),
               *(f"{found[key]:.3f}" for key in ("error", "error_of_the_mean")), f"`{record['commit'][:7]}`"]


def temperature() -> str:
    """Every record, one row each."""
    header = ["model", "mirrored views", "temperature", "calibration error before", "after",
              "negative log-likelihood before", "after", "commit"]
    return markdown(header, [[_model(record), "yes" if record["tta"] else "no", f"{record['temperature']:.3f}",
                              *(f"{value:.4f}" for value in record["calibration_error"]),
                              *(f"{value:.4f}" for value in record["negative_log_likelihood"]),
                              f"`{record['commit'][:7]}`"] for record in records("quality")])


def _model(record: dict[str, Any]) -> str:
    """Variant and draw, from the model's folder in the command."""
    folder, draw = record["command"].split()[2].split("/")[-2:]
    return f"`{folder.split('__')[0]}`, {draw}"


TABLES = {"quality predicted Dice": predicted_dice, "quality temperature": temperature}
