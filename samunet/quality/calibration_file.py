"""quality.json beside a model: what cross-validation says about its predictions, for each way to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from samunet.console import say
from samunet.errors import UserError
from samunet.files import digest_of_json, read_json, write_json
from samunet.inference.model_weights import DIGEST
from samunet.inference.run_file import read_run
from samunet.quality.regression import DiceRegression
from samunet.quality.temperature import LARGEST
from samunet.schema import decode

FILE = "quality.json"
PLAIN, MIRRORED = "plain", "mirrored"
RECALIBRATE = "Run samunet_calibrate again."


@dataclass(frozen=True)
class Calibration:
    """Of one way to predict, with mirrored views (`--tta`) or without.

    Arguments:
        temperature: what logits are divided by for calibrated probabilities.
        calibration_error: of the same voxels, at temperature 1 and at `temperature`; see `temperature`.
        classes: class key -> its regression.
        checkpoints: fold -> the SHA-256 of the weights that were measured.
    """

    temperature: Annotated[float, msgspec.Meta(ge=1 / (2 * LARGEST), le=2 * LARGEST)]
    calibration_error: tuple[float, float]
    classes: dict[str, DiceRegression]
    checkpoints: dict[str, str | None]

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return digest_of_json(asdict(self))


def write_calibration(model: Path, mode: str, calibration: Calibration) -> Path:
    """Put `calibration` into the model's file, beside that of the other way to predict; returns the file."""
    path = model / FILE
    stored = _read(path) if path.is_file() else {}
    write_json(path, {each: asdict(found) for each, found in {**stored, mode: calibration}.items()})
    return path


def usable_calibration(model: Path, folds: Sequence[str], mode: str) -> Calibration | None:
    """The calibration for predictions by `folds`; None, with a line that says why, if the model has none for them.

    Raises:
        UserError: the file has another form.
    """
    path = model / FILE
    if not path.is_file():
        return None
    if (found := _read(path).get(mode)) is None:
        say(f"no predicted Dice: {path} was measured {'without' if mode == MIRRORED else 'with'} --tta")
        return None
    other = [fold for fold in folds if found.checkpoints.get(fold, "") != checkpoint_digest(model, fold)]
    if other:
        say(f"no predicted Dice: {path} was not measured with fold {', '.join(other)} as it is now; run "
            "samunet_calibrate")
        return None
    return found


def checkpoint_digest(model: Path, fold: str) -> str | None:
    """The SHA-256 of a fold's weights as its run recorded it; older runs lack it."""
    found: str | None = read_run(model / f"fold_{fold}" / "run.json").get(DIGEST)
    return found


def _read(path: Path) -> dict[str, Calibration]:
    rule = "A model's quality.json must be as samunet_calibrate wrote it."
    content = decode(dict[str, Calibration], read_json(path), rule=rule, where=path, mend=RECALIBRATE)
    if unknown := content.keys() - {PLAIN, MIRRORED}:
        raise UserError(rule, where=path, found=f"unknown `{min(unknown)}`", mend=RECALIBRATE)
    return content
