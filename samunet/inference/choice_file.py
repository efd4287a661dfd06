"""What `samunet_find_best_configuration` chose: where its records lie, and what prediction reads of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from samunet.files import read_json

CHOICES = "choice"
"""The folder, in a dataset's results, of the records and of the runs that they come from."""


@dataclass(frozen=True)
class Choice:
    """A record: `model` is the chosen model's folder, `fold` the one trained, `finished` an ISO time, `told` the verdict."""

    path: Path
    model: Path
    fold: str
    finished: str
    told: str


def choice_path(
    dataset_results: Path, plans_name: str, encoder: str, fold: str, shots: int | None, draw: int
) -> Path:
    """The record's file.

    Arguments:
        dataset_results: <results>/<Dataset>.
        encoder: its id.
        shots: None where all labelled cases of the fold are used.
    """
    drawn = "" if shots is None else f"__shots{shots}_draw{draw}"
    return dataset_results / CHOICES / f"{plans_name}__{encoder}{drawn}__fold_{fold}.json"


def list_choices(results: Path) -> Iterator[Choice]:
    """All records below the results folder, sorted by path.

    Raises:
        UserError: one is not JSON.
    """
    for path in sorted(results.glob(f"Dataset*/{CHOICES}/[!.]*.json")):
        content = read_json(path)
        yield Choice(path, results / content["model"], content["fold"], content["finished"], content["told"])
