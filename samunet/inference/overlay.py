"""Overlays of a segmentation on its image: filled prediction, outlined reference, a legend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from samunet.dataset.label_colours import colour_of, names_of
from samunet.dataset.labels import LabelSpace
from samunet.files import whole_file

FILL = 0.45
CONTRAST_PERCENTILES = (0.5, 99.5)
AXIS_NAMES = ("slice", "row", "column")
PANEL_INCHES = 4.0
DOTS_PER_INCH = 100
Colour = tuple[float, float, float, float]  # red, green, blue, opacity, 0 to 1


@dataclass(frozen=True)
class Overlay:
    """The content: `image` (Z, Y, X), label values (Z, Y, X) of the prediction and, if there is one, the reference."""

    image: np.ndarray
    prediction: np.ndarray
    reference: np.ndarray | None
    spacing_mm: tuple[float, float, float]


def draw_overlay(overlay: Overlay, labels: LabelSpace, title: str, path: Path) -> None:
    """Write a PNG with one panel for each axis, cut through the middle of the foreground (2D images: one panel).

    The prediction is filled; the reference is an outline of the same colour. Panels have true proportions in mm.
    """
    views = [0] if overlay.image.shape[0] == 1 else [0, 1, 2]
    colours = colours_of(labels)
    figure = Figure(figsize=(PANEL_INCHES * len(views), PANEL_INCHES + 0.8), dpi=DOTS_PER_INCH, layout="constrained")
    low, high = np.percentile(overlay.image, CONTRAST_PERCENTILES)
    for axes, axis, place in zip(np.ravel(figure.subplots(1, len(views))), views, middle_of_foreground(overlay),
                                 strict=False):
        _draw_panel(axes, overlay, axis, place, colours, (float(low), float(high)))
    figure.suptitle(title)
    figure.legend(handles=legend(labels, colours, overlay.reference is not None), loc="outside lower center", ncols=4)
    with whole_file(path) as temporary:
        figure.savefig(temporary)


def middle_of_foreground(overlay: Overlay) -> tuple[int, int, int]:
    """Indices (z, y, x): the median place of the foreground of prediction and reference, or the image's middle."""
    foreground = overlay.prediction > 0
    if overlay.reference is not None:
        foreground = foreground | (overlay.reference > 0)
    if not foreground.any():
        z, y, x = (size // 2 for size in foreground.shape)
    else:
        z, y, x = (int(np.median(places)) for places in np.nonzero(foreground))
    return z, y, x


def colours_of(labels: LabelSpace) -> dict[int, Colour]:
    """Each foreground value's colour."""
    colours = {value: [part / 255 for part in colour_of(value)] for value in labels.values if value > 0}
    return {value: (red, green, blue, 1.0) for value, (red, green, blue) in colours.items()}


def draw_maps(
    axes: Axes, prediction: np.ndarray, reference: np.ndarray | None, colours: dict[int, Colour], aspect: float = 1.0
) -> None:
    """Fill the labels of `prediction` (rows, columns) and outline those of `reference`, in each value's colour."""
    fill = np.zeros((*prediction.shape, 4))
    for value, colour in colours.items():
        fill[prediction == value] = (*colour[:3], FILL)
    axes.imshow(fill, aspect=aspect, interpolation="nearest")
    if reference is not None:
        for value, colour in colours.items():
            if (reference == value).any() and min(reference.shape) > 1:
                axes.contour(reference == value, levels=[0.5], colors=[colour], linewidths=1.2)


def legend(labels: LabelSpace, colours: dict[int, Colour], with_reference: bool) -> list[Artist]:
    """The legend's handles: every value's colour, and the meaning of an outline."""
    handles: list[Artist] = [Patch(facecolor=colour, alpha=0.7, label=names_of(labels, value))
                     for value, colour in colours.items()]
    if with_reference:
        handles.append(Line2D([], [], color="black", linewidth=1.2, label="outline: reference"))
    return handles


def _draw_panel(
    axes: Axes, overlay: Overlay, axis: int, place: int, colours: dict[int, Colour], limits: tuple[float, float]
) -> None:
    height_mm, width_mm = (spacing for other, spacing in enumerate(overlay.spacing_mm) if other != axis)
    aspect = height_mm / width_mm
    axes.imshow(np.take(overlay.image, place, axis), cmap="gray", vmin=limits[0], vmax=limits[1], aspect=aspect,
                interpolation="nearest")
    reference = None if overlay.reference is None else np.take(overlay.reference, place, axis)
    draw_maps(axes, np.take(overlay.prediction, place, axis), reference, colours, aspect)
    axes.set_title(f"{AXIS_NAMES[axis]} {place}", fontsize=9)
    axes.set_axis_off()
