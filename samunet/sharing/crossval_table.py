"""The cross-validation table of a model: Dice of each label in each fold, and over the cases of all folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samunet.dataset.labels import LabelSpace
from samunet.evaluation.report import read_summary, summary_content
from samunet.planning.splits import ALL
from samunet.preprocessing.prompts.kinds import oracle_name

NOTHING = "-"


def crossval_table(folder: Path, runs: Mapping[str, Mapping[str, Any]], labels: LabelSpace) -> str:
    """A Markdown table with a row for each fold of the model in `folder`, and one for all cases if there are several.

    Means are nnU-Net's: over the cases where Dice is defined, then over the labels. A fold that was not validated has
    no scores. The last row leaves it out, and fold `all`, which trained on the cases that it predicts.

    Raises:
        UserError: a summary.json that is not of these labels.
    """
    keys = [str(label) for label in labels.foreground]
    names = [labels.name_of(label) for label in labels.foreground]
    lines = [_row("fold", "training cases", "validation cases", *names, "mean"), _row(*["---"] * (len(names) + 4))]
    rows: list[dict[str, Any]] = []
    for fold, run in runs.items():
        path = folder / f"fold_{fold}" / "validation" / "summary.json"
        own = read_summary(path)["metric_per_case"] if path.is_file() else []
        rows += own if fold != ALL else []
        lines.append(_row(_title(fold, run), str(len(run["train_cases"])), str(len(own)), *_scores(own, keys)))
    if len(runs) > 1:
        lines.append(_row("all folds", NOTHING, str(len(rows)), *_scores(rows, keys)))
    return "\n".join(lines)


def _title(fold: str, run: Mapping[str, Any]) -> str:
    """A fold's name; scores with prompts from the reference labels are marked, and those of training cases."""
    kind = run["settings"].get("oracle_prompts")
    remarks = ["scores of its training cases"] if fold == ALL else []
    remarks += [f"oracle {oracle_name(kind, run['settings'].get('box_relax'))}"] if kind else []
    return f"{fold} ({', '.join(remarks)})" if remarks else fold


def _scores(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[str]:
    """Mean Dice of each label, then of all."""
    if not rows:
        return [NOTHING] * (len(keys) + 1)
    content = summary_content(rows)
    values = [*(content["mean"].get(key, {}).get("Dice", math.nan) for key in keys), content["foreground_mean"]["Dice"]]
    return [NOTHING if math.isnan(value) else f"{value:.3f}" for value in values]


def _row(*cells: str) -> str:
    """A row of a Markdown table; bars in names of labels are escaped."""
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
