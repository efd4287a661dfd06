"""quality.json of a folder of predictions: predicted Dice of each case and class, the worst cases first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from samunet.dataset.labels import LabelSpace
from samunet.files import read_json, write_json
from samunet.locks import lock_beside, owned
from samunet.quality.calibration_file import FILE, Calibration
from samunet.quality.features import VIEWS, MemberFeatures, watched
from samunet.schema import decode
from samunet.variants.sliding_window import Slab

RULE = "quality.json of predictions must be as samunet_predict wrote it."
MEND = "Remove the file, and predict again."


@dataclass(frozen=True)
class QualityRow:
    """One case: the mean over classes, and class name -> predicted Dice."""

    case: str
    predicted_dice: float
    classes: dict[str, float]


@dataclass(frozen=True)
class QualityTable:
    """The file's content. `calibration` is the digest of the calibration; `error` class name -> its mean error."""

    calibration: str
    error: dict[str, float]
    cases: list[QualityRow]


@dataclass(frozen=True)
class QualityWatch:
    """What `predict_folder` lets see each case's logits; see `inference.predict_folder.Watch`.

    Arguments:
        output: the folder of predictions.
        folds: number of folds that predict.
        mirrored: whether they predict mirrored views as well.
    """

    calibration: Calibration
    labels: LabelSpace
    output: Path
    folds: int
    mirrored: bool

    def watched(self, case: str, slabs: Iterator[Slab]) -> Iterator[Slab]:
        """The slabs of the mean; when they end, the case's row is in the file."""
        members = [MemberFeatures(self.labels, VIEWS if self.mirrored else 1) for _ in range(self.folds)]
        yield from watched(slabs, self.labels.channels, members)
        row = row_of(case, [member.values() for member in members], self.calibration, self.labels)
        with owned(lock_beside(self.output / FILE), self.output, wait=True):  # other parts write it as well
            _put(self.output / FILE, row, self.calibration, self.labels)


def row_of(
    case: str, members: Sequence[Mapping[str, Mapping[str, float]]], calibration: Calibration, labels: LabelSpace
) -> QualityRow:
    """The row of a case from the features of each fold; the folds' predicted Dice is averaged.

    So it is the Dice to expect of one of the folds. That of their averaged logits is usually a little higher.
    """
    classes = {labels.name_of(label): mean(calibration.classes[str(label)].predict(features[str(label)])
                                           for features in members) for label in labels.foreground}
    return QualityRow(case, mean(classes.values()), classes)


def read_table(folder: Path) -> QualityTable | None:
    """The table of a folder of predictions, worst cases first; None if it has none.

    Raises:
        UserError: the file has another form.
    """
    path = folder / FILE
    return decode(QualityTable, read_json(path), rule=RULE, where=path, mend=MEND) if path.is_file() else None


def line_of(row: QualityRow) -> str:
    """The row as a line of text: name, mean, classes."""
    classes = ", ".join(f"{name} {dice:.2f}" for name, dice in row.classes.items())
    return f"{row.case}: predicted Dice {row.predicted_dice:.2f} ({classes})"


def _put(path: Path, row: QualityRow, calibration: Calibration, labels: LabelSpace) -> None:
    """Add or replace a case's row; rows of another calibration are dropped."""
    table = read_table(path.parent)
    rows = table.cases if table is not None and table.calibration == calibration.digest else []
    rows = sorted([*(each for each in rows if each.case != row.case), row],
                  key=lambda each: (each.predicted_dice, each.case))
    error = {labels.name_of(label): calibration.classes[str(label)].error for label in labels.foreground}
    content: dict[str, Any] = {
        "calibration": calibration.digest, "error": error,
        "cases": [{"case": each.case, "predicted_dice": each.predicted_dice, "classes": each.classes}
                  for each in rows]}
    write_json(path, content)
