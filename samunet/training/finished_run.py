"""What there is to say of a finished fold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samunet.files import read_json
from samunet.preprocessing.prompts.kinds import oracle_name
from samunet.training.experiment import Experiment


@dataclass(frozen=True)
class FinishedRun:
    """A finished fold.

    Of several processes that train one network, the first finishes it alone: in the others `text` is empty.

    Arguments:
        folder: of its weights, run.json, logs and validation.
        dice: mean foreground Dice of its validation cases, 0 to 1; None where none were validated.
        text: the line that the command prints.
    """

    folder: Path
    dice: float | None
    text: str


def finished_before(folder: Path) -> FinishedRun:
    """The run in `folder` that an earlier call finished."""
    summary = folder / "validation" / "summary.json"
    return FinishedRun(folder, _dice(read_json(summary) if summary.is_file() else None), f"already finished: {folder}")


def finished_now(experiment: Experiment, summary: Mapping[str, Any] | None) -> FinishedRun:
    """The run that has just been trained or validated; `summary` is the content of the validation's summary.json."""
    folder, dice = experiment.folder.final, _dice(summary)
    kind, relaxed = experiment.settings.oracle_prompts, experiment.settings.box_relax
    text = f"{folder}: " + ("not validated" if dice is None else f"mean Dice {dice:.4f}")
    return FinishedRun(folder, dice, text + (f" (oracle {oracle_name(kind, relaxed)})" if kind else ""))


def is_validated(folder: Path, cases: Sequence[str]) -> bool:
    """Whether the validation of a finished fold is there, where it has `cases` to validate."""
    files = (folder / "validation" / name for name in ("summary.json", "metrics.json"))
    return not cases or all(file.is_file() for file in files)


def _dice(summary: Mapping[str, Any] | None) -> float | None:
    return None if summary is None else float(summary["foreground_mean"]["Dice"])
