"""Overlays of predictions with a predicted Dice: order, titles and the contact sheet."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread, imsave

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.files import write_json
from samunet.inference.overlay_files import OverlayJob
from samunet.quality.overlays import draw_worst, worst_first

LABELS = LabelSpace({"background": 0, "a": 1})


def job(folder: Path, name: str) -> OverlayJob:
    return OverlayJob(name, (), folder / name, None, "SimpleITKIO", LABELS, 0, folder / f"{name}.png")


def write_table(folder: Path, **dice: float) -> None:
    rows = [{"case": name, "predicted_dice": value, "classes": {"a": value}} for name, value in dice.items()]
    write_json(folder / "quality.json", {"calibration": "x", "error": {"a": 0.1}, "cases": rows})


def test_the_worst_come_first_with_their_dice_and_the_others_after_them(tmp_path: Path) -> None:
    jobs = [job(tmp_path, name) for name in ("one", "two", "three")]
    assert worst_first(jobs, tmp_path) == jobs  # without a table
    write_table(tmp_path, three=0.25, gone=0.4, one=0.5)
    found = worst_first(jobs, tmp_path)
    assert [each.name for each in found] == ["three", "one", "two"]
    titles = ["three: predicted Dice 0.25 (a 0.25)", "one: predicted Dice 0.50 (a 0.50)", ""]
    assert [each.title for each in found] == titles
    with pytest.raises(UserError, match="contact sheet"):
        worst_first([job(tmp_path, "worst_cases")], tmp_path)


def test_the_sheet_shows_the_twelve_worst_row_by_row(tmp_path: Path) -> None:
    jobs = []
    for index in range(14):
        each = job(tmp_path, f"c{index:02}")
        imsave(each.output, np.full((50, 100, 3), np.uint8(10 * index)))
        jobs.append(replace(each, title="rated" if index else ""))
    assert draw_worst(jobs[:1], tmp_path) is None
    sheet = draw_worst(jobs, tmp_path)
    assert sheet == tmp_path / "worst_cases.png"
    pixels = np.round(imread(sheet)[..., 0] * 255).astype(int)
    assert pixels.shape == (6 * 50, 2 * 100)
    centres = [[pixels[50 * row + 25, 100 * column + 50] for column in (0, 1)] for row in range(6)]
    assert centres == [[10 * (2 * row + column + 1) for column in (0, 1)] for row in range(6)]
