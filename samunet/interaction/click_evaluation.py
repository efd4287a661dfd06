"""Evaluate prompts by simulated clicks: of one case by whatever answers prompts, and of a folder by a model.

Every result is an oracle's: the reference chooses the clicks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any, Protocol

import numpy as np

from samunet.dataset.labels import LabelSpace
from samunet.evaluation.clicks import (
    SIMULATOR,
    TOLERANCE_MM,
    Click,
    ClickCurve,
    ClickScore,
    click_score,
    next_click,
    tie_breaker,
    tight_box,
)


class Answers(Protocol):
    """What is evaluated: a `Session` that has its image, or a baseline. Labels are names, voxels (z, y, x)."""

    @property
    def mask(self) -> np.ndarray:
        """The answer to all prompts so far, label values (Z, Y, X)."""

    def add_point(self, place: Sequence[float], label: str, positive: bool = True) -> None:
        """A click on a voxel."""

    def add_box(self, low: Sequence[float], high: Sequence[float], label: str) -> None:
        """A box from its first to its last voxel."""


@dataclass(frozen=True)
class ClickSettings:
    """How many clicks each label gets, whether a box comes first, and the seed that breaks the simulator's ties."""

    clicks: int = 5
    box: bool = False
    seed: int = 0


def click_curves(
    answers: Answers, truth: np.ndarray, labels: LabelSpace, spacing_mm: Sequence[float], case: str,
    settings: ClickSettings,
) -> dict[str, ClickCurve]:
    """The scores of every label after the first box and after each click, by the label's name.

    In each step every label with an error gets a click, as in the challenge: all of a step's clicks are chosen before
    the first is given. Voxels with the ignore label count on neither side and are never clicked. A label that the case
    does not have gets no box; a click only if the answer has it all the same.

    Arguments:
        truth: label values int (Z, Y, X). spacing_mm: (z, y, x). case: its name, of which the ties depend.

    Raises:
        UserError: a prompt that the model cannot answer.
    """
    valid = labels.valid(truth)
    references = {labels.name_of(label): labels.mask(truth, label) & valid for label in labels.foreground}

    def answered() -> dict[str, np.ndarray]:
        mask = answers.mask
        return {labels.name_of(label): labels.mask(mask, label) & valid for label in labels.foreground}

    def scored(answer: Mapping[str, np.ndarray]) -> dict[str, ClickScore]:
        return {name: click_score(reference, answer[name], spacing_mm) for name, reference in references.items()}

    for name, reference in references.items():
        if settings.box and (box := tight_box(reference)) is not None:
            low, high = box
            answers.add_box(low, high, name)
    answer = answered()
    scores, clicks = [scored(answer)], []
    for number in range(settings.clicks):
        clicks.append({name: next_click(reference, answer[name], tie_breaker(settings.seed, case, name, number))
                       for name, reference in references.items()})
        for name, click in clicks[-1].items():
            if click is not None:
                answers.add_point(click.place, name, click.positive)
        if any(clicks[-1].values()):
            answer = answered()
        scores.append(scored(answer))
    return {name: ClickCurve(tuple(step[name] for step in scores), tuple(step[name] for step in clicks),
                             bool(reference.any())) for name, reference in references.items()}


def clicks_content(cases: Mapping[str, Mapping[str, ClickCurve]], settings: ClickSettings) -> dict[str, Any]:
    """What samunet_evaluate_clicks writes (documentation/reference/metrics.md), without the model.

    Arguments:
        cases: case -> label's name -> its curve; one or more cases.
    """
    names = list(next(iter(cases.values())))
    rows = {case: {name: _row(curve) for name, curve in curves.items()} for case, curves in cases.items()}
    by_label = {name: _means([row[name] for row in rows.values()])
                | {"cases": len(rows), "present": sum(row[name]["present"] for row in rows.values())} for name in names}
    return {
        "oracle": True, "simulator": SIMULATOR, **asdict(settings), "tolerance_mm": TOLERANCE_MM,
        "mean": _means([by_label[name] for name in names]), "labels": by_label, "cases": rows,
    }


def _row(curve: ClickCurve) -> dict[str, Any]:
    areas = curve.areas
    return {
        "Dice": [score.dice for score in curve.scores], "NSD": [score.nsd for score in curve.scores],
        "Dice_area": None if areas is None else areas.dice, "NSD_area": None if areas is None else areas.nsd,
        "present": curve.present, "clicks": [None if click is None else _click(click) for click in curve.clicks],
    }


def _click(click: Click) -> dict[str, Any]:
    return {"place": list(click.place), "positive": click.positive}


def _means(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Plain means; of the areas None where there are none."""
    curves = {key: [mean(step) for step in zip(*(row[key] for row in rows), strict=True)] for key in ("Dice", "NSD")}
    areas = {key: None if rows[0][key] is None else mean(row[key] for row in rows) for key in ("Dice_area", "NSD_area")}
    return curves | areas
