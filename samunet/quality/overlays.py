"""Overlays of predictions whose Dice was predicted: the worst first, titled with it, and a contact sheet of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.image import imread

from samunet.errors import UserError
from samunet.files import whole_file
from samunet.inference.overlay_files import OverlayJob
from samunet.quality.table import line_of, read_table

SHEET = "worst_cases.png"
MOST_CASES, COLUMNS = 12, 2
PIXELS_PER_INCH = 100


def worst_first(jobs: Sequence[OverlayJob], predictions: Path) -> list[OverlayJob]:
    """The jobs with predicted Dice in their titles, worst first, then those without; as they are without a table.

    Raises:
        UserError: a quality.json of another form; a case whose overlay would be the contact sheet.
    """
    table = read_table(predictions)
    if table is None:
        return list(jobs)
    if taken := [job.name for job in jobs if job.output.name == SHEET]:
        raise UserError("No case may have the name of the contact sheet.", where=predictions, found=taken[0],
                        mend="Rename the case, or move quality.json away.")
    by_name = {job.name: job for job in jobs}
    rated = [replace(by_name[row.case], title=line_of(row)) for row in table.cases if row.case in by_name]
    names = {job.name for job in rated}
    return rated + [job for job in jobs if job.name not in names]


def draw_worst(jobs: Sequence[OverlayJob], output: Path) -> Path | None:
    """Put the drawn overlays of the first 12 jobs with predicted Dice on one sheet; None if there are none."""
    shown = [imread(job.output) for job in jobs if job.title][:MOST_CASES]
    if not shown:
        return None
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    width, height = (max(image.shape[axis] for image in shown) / PIXELS_PER_INCH for axis in (1, 0))
    figure = Figure(figsize=(width * columns, height * rows), dpi=PIXELS_PER_INCH, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
    for axes, image in zip(panels, shown, strict=False):
        axes.imshow(image)
    with whole_file(output / SHEET) as temporary:
        figure.savefig(temporary)
    return output / SHEET
