"""The JSON files of an nnU-Net run in a benchmark: nnU-Net's plans, the trainer's budget, and the time of each step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samunet.errors import UserError
from samunet.files import read_json
from samunet.inference.run_file import read_run
from samunet.schema import decode

MEND = "Remove the unfinished folder and run the benchmark again."


@dataclass(frozen=True)
class _Asked:
    asked: dict[str, Any]


@dataclass(frozen=True)
class _Plans:
    configurations: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class _Configuration:
    batch_size: int


@dataclass(frozen=True)
class _Budget:
    iterations: int
    batch_size: int
    seconds: float
    parameters: int
    threads: int


def finished_request(run: Path) -> dict[str, Any] | None:
    """The settings and data of the finished run with this run.json; None if the file does not exist."""
    return read_run(run, _Asked)["asked"] if run.is_file() else None


def read_seconds(path: Path) -> dict[str, float]:
    """Finished step -> its seconds; empty if the file does not exist."""
    if not path.is_file():
        return {}
    return decode(dict[str, float], read_json(path), rule="The seconds of finished steps must be numbers.", where=path,
                  mend=MEND)


def plans_with_batch(path: Path, configuration: str, largest: int) -> dict[str, Any]:
    """nnU-Net's plans, with at most `largest` as the batch of `configuration`.

    Raises:
        UserError: nnU-Net plans no such configuration for this dataset, or the file is damaged.
    """
    plans: dict[str, Any] = read_json(path)
    sections = decode(_Plans, plans, rule="nnU-Net's plans must have configurations.", where=path, mend=MEND,
                      finite=False).configurations
    if configuration not in sections:
        raise UserError("nnU-Net must plan the configuration for this dataset.", where="--nnunet", found=configuration,
                        mend=f"Choose one of: {', '.join(sections)}.")
    section = decode(_Configuration, sections[configuration], rule="nnU-Net's configuration must have a batch size.",
                     where=path, mend=MEND)
    plans["configurations"][configuration]["batch_size"] = min(section.batch_size, largest)
    return plans


def read_budget(path: Path) -> dict[str, Any]:
    """The budget.json that `nnUNetTrainerBudget` wrote at its end."""
    budget: dict[str, Any] = read_json(path)
    decode(_Budget, budget, rule="nnU-Net's trainer must write the iterations and seconds of its training.", where=path,
           mend=MEND)
    return budget
