"""Records of what `samunet_find_best_configuration` chose: their paths, and what prediction reads from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from samunet.files import read_json
from samunet.schema import decode

CHOICES = "choice"
"""The folder, in a dataset's results, of the records and of the runs that they come from."""


@dataclass(frozen=True)
class Choice:
    """A record: `model` is the chosen model's folder, `fold` the trained one, `finished` an ISO time."""

    path: Path
    model: Path
    fold: str
    finished: str
    verdict: str


@dataclass(frozen=True)
class _Record:
    model: str
    fold: str
    finished: str
    told: str  # the verdict; files use this key


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
        UserError: one is not JSON, or no record of a choice.
    """
    for path in sorted(results.glob(f"Dataset*/{CHOICES}/[!.]*.json")):
        record = decode(_Record, read_json(path),
                        rule="The record of a choice must hold what samunet_find_best_configuration writes.",
                        where=path, mend="Remove the file, or run samunet_find_best_configuration again.")
        yield Choice(path, results / record.model, record.fold, record.finished, record.told)
