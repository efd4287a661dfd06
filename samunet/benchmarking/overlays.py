"""Slices of a case with its prediction and reference, as images embedded in the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
from skimage.segmentation import find_boundaries

from samunet.benchmarking.results import Result
from samunet.dataset.alignment import SEGMENTATION, on_grid
from samunet.dataset.io.readers import reader_named
from samunet.dataset.label_colours import COLOURS
from samunet.errors import joined

MOST_SLICES, LONGEST_SIDE = 24, 320
FILL = 0.5
CONTRAST_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class CaseOverlay:
    """A case's slices as data URLs, and the index of the one that is shown first."""

    title: str
    slices: tuple[str, ...]
    middle: int


def chosen_cases(result: Result, draw: int) -> list[tuple[str, str, float]]:
    """(rank, case, Dice) of the best, the median and the worst case of a draw; fewer if there are fewer cases."""
    scores = {case: value for case, value in result.scores(draw, "Dice").items() if not np.isnan(value)}
    order = sorted(scores, key=lambda case: (-scores[case], case))
    if not order:
        return []
    places = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    return [(which, order[place], scores[order[place]]) for which, place in places.items()
            if list(places.values()).index(place) == list(places).index(which)]


def case_overlay(title: str, images: Sequence[Path], prediction: Path, reference: Path, reader: str) -> CaseOverlay:
    """At most 24 slices of the first channel, evenly spaced over the slices with foreground.

    Raises:
        UserError: a file that cannot be read, or a segmentation on another grid than the image.
    """
    read = reader_named(reader)
    channels, geometry = read.read_images(images)
    maps, problems = [], []
    for path in (prediction, reference):
        segmentation, found = on_grid(*read.read_segmentation(path), geometry, path, images[0], SEGMENTATION)
        maps.append(segmentation[0])
        problems += found
    if problems:
        raise joined(problems)
    image, (predicted, labelled) = channels[0], maps
    held = np.flatnonzero(((predicted > 0) | (labelled > 0)).any(axis=(1, 2)))
    first, last = (int(held[0]), int(held[-1])) if held.size else (0, len(image) - 1)
    planes = np.unique(np.linspace(first, last, MOST_SLICES).round().astype(int))
    low, high = np.percentile(image, CONTRAST_PERCENTILES)
    grey = np.clip((image[planes] - low) / max(high - low, 1e-8), 0, 1)
    slices = tuple(_data_url(*each) for each in zip(grey, predicted[planes], labelled[planes], strict=True))
    return CaseOverlay(title, slices, len(slices) // 2)


def _data_url(grey: np.ndarray, predicted: np.ndarray, labelled: np.ndarray) -> str:
    """One slice as a data URL: grey, the prediction filled, the reference's inner boundary white."""
    step = max(1, -(-max(grey.shape) // LONGEST_SIDE))
    grey, predicted, labelled = (each[::step, ::step] for each in (grey, predicted, labelled))
    image = np.repeat(grey[..., None], 3, axis=2)
    inside = predicted > 0
    colours = np.array(COLOURS) / 255
    image[inside] = (1 - FILL) * image[inside] + FILL * colours[(predicted[inside].astype(int) - 1) % len(colours)]
    image[find_boundaries(labelled, mode="inner")] = 1.0
    file = io.BytesIO()
    imageio.imwrite(file, (image * 255).round().astype(np.uint8), extension=".png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
