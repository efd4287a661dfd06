"""A contact sheet of a sequence: frames evenly spread over time, with prediction and reference as in `overlay`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from samunet.dataset.labels import LabelSpace
from samunet.files import whole_file
from samunet.inference.overlay import CONTRAST_PERCENTILES, DOTS_PER_INCH, colours_of, draw_maps, legend

MOST_FRAMES, COLUMNS = 12, 4
PANEL_INCHES = 3.0


@dataclass(frozen=True)
class Sheet:
    """The content: `frames` (T, Y, X) grey or (T, Y, X, 3) in colour, label values (T, Y, X), and the frames' names."""

    frames: np.ndarray
    prediction: np.ndarray
    reference: np.ndarray | None
    names: Sequence[str]


def draw_contact_sheet(sheet: Sheet, labels: LabelSpace, title: str, path: Path) -> None:
    """Write a PNG with one named panel for each of at most 12 frames; the title states how many of all are shown."""
    places = shown_frames(len(sheet.frames))
    columns = min(COLUMNS, len(places))
    rows = math.ceil(len(places) / columns)
    height = PANEL_INCHES * sheet.frames.shape[1] / sheet.frames.shape[2] + 0.3
    figure = Figure(figsize=(PANEL_INCHES * columns, height * rows + 0.8), dpi=DOTS_PER_INCH, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    colours, shown = colours_of(labels), _unit_range(sheet.frames[places])
    for axes in panels:
        axes.set_axis_off()
    for axes, place, frame in zip(panels, places, shown, strict=False):
        axes.imshow(frame, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        draw_maps(axes, sheet.prediction[place], None if sheet.reference is None else sheet.reference[place], colours)
        axes.set_title(f"frame {sheet.names[place]}", fontsize=9)
    figure.suptitle(f"{title}: {len(places)} of {len(sheet.frames)} frames")
    figure.legend(handles=legend(labels, colours, sheet.reference is not None), loc="outside lower center", ncols=4)
    with whole_file(path) as temporary:
        figure.savefig(temporary)


def shown_frames(count: int) -> list[int]:
    """Indices of the shown frames out of `count`: all if there are few, else 12 evenly spaced from first to last."""
    places: list[int] = np.linspace(0, count - 1, min(count, MOST_FRAMES)).round().astype(int).tolist()
    return places


def _unit_range(frames: np.ndarray) -> np.ndarray:
    """Grey or colours in [0, 1]; the same limits for all colours, which preserves hues."""
    low, high = np.percentile(frames, CONTRAST_PERCENTILES)
    scaled: np.ndarray = np.clip((frames - low) / max(high - low, 1e-8), 0, 1)
    return scaled
