"""The baseline of every click: a region grown from the clicked voxels by SimpleITK, without any learning.

SimpleITK's ConfidenceConnected grows from the positive clicks of a label through the voxels whose intensity is within
`multiplier` standard deviations of the mean near the clicks. A voxel that is nearer (in mm) to a negative click than to
every positive one is blocked. A box keeps its label inside; without a click its middle is the seed. A voxel that two
labels reach belongs to the one whose positive click is nearer. Both parameters are chosen on training cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from statistics import mean

import numpy as np
import SimpleITK as sitk

from samunet.dataset.labels import LabelSpace
from samunet.interaction.click_evaluation import ClickSettings, click_curves

UNREACHED = np.float32(np.inf)  # mm


@dataclass(frozen=True)
class Parameters:
    """Of one dataset.

    Arguments:
        smoothing_mm: standard deviation of a Gaussian filter; 0 leaves the image as it is.
        multiplier: half the width of the interval, in standard deviations of the seeds' neighbourhoods.
    """

    smoothing_mm: float
    multiplier: float


RADIUS = 1  # of the neighbourhoods of seeds, in voxels
GRID = tuple(Parameters(*each) for each in product((0.0, 1.0, 2.0), (1.5, 2.0, 2.5, 3.0)))


@dataclass
class _Prompts:
    positive: list[tuple[int, int, int]] = field(default_factory=list)
    negative: list[tuple[int, int, int]] = field(default_factory=list)
    boxes: list[tuple[slice, ...]] = field(default_factory=list)


class GrownRegion:
    """Answers prompts of one image; see `samunet.interaction.click_evaluation.Answers`.

    Arguments:
        image: float32 (Z, Y, X), the first channel. spacing_mm: (z, y, x).
    """

    def __init__(
        self, image: np.ndarray, spacing_mm: Sequence[float], labels: LabelSpace, parameters: Parameters
    ) -> None:
        if labels.has_regions:
            raise ValueError("grown regions are of plain labels")
        self.image = sitk.GetImageFromArray(image)
        self.image.SetSpacing([float(value) for value in spacing_mm[::-1]])
        self.shape, self.spacing_mm, self.labels, self.parameters = image.shape, spacing_mm, labels, parameters
        self.prompts: dict[str, _Prompts] = {labels.name_of(label): _Prompts() for label in labels.foreground}

    def add_point(self, place: Sequence[float], label: str, positive: bool = True) -> None:
        prompts = self.prompts[label]
        z, y, x = (int(value) for value in place)
        (prompts.positive if positive else prompts.negative).append((z, y, x))

    def add_box(self, low: Sequence[float], high: Sequence[float], label: str) -> None:
        self.prompts[label].boxes.append(
            tuple(slice(int(first), int(last) + 1) for first, last in zip(low, high, strict=True)))

    @property
    def mask(self) -> np.ndarray:
        """Label values uint8 (Z, Y, X)."""
        mask, nearest = np.zeros(self.shape, np.uint8), np.full(self.shape, UNREACHED)
        for name, prompts in self.prompts.items():
            seeds = prompts.positive or [_middle(box) for box in prompts.boxes]
            if not seeds:
                continue
            distance = self._distance(seeds)
            taken = self._grown(seeds, distance, prompts) & (distance < nearest)
            mask[taken], nearest[taken] = self.labels.names[name], distance[taken]
        return mask

    def _grown(self, seeds: Sequence[tuple[int, int, int]], distance: np.ndarray, prompts: _Prompts) -> np.ndarray:
        """The region bool (Z, Y, X) of one label: grown, then without what only blocked voxels connect to a seed."""
        grown = sitk.GetArrayFromImage(sitk.ConfidenceConnected(
            self._smoothed, [seed[::-1] for seed in seeds], numberOfIterations=1,
            multiplier=self.parameters.multiplier, initialNeighborhoodRadius=RADIUS,
            replaceValue=1)).astype(bool)
        if prompts.negative:
            grown &= distance <= self._distance(prompts.negative)
        if prompts.boxes:
            inside = np.zeros(self.shape, bool)
            for box in prompts.boxes:
                inside[box] = True
            grown &= inside
        for seed in seeds:
            grown[seed] = True
        connected = sitk.ConnectedThreshold(sitk.GetImageFromArray(grown.astype(np.uint8)),
                                            [seed[::-1] for seed in seeds], lower=1, upper=1)
        return sitk.GetArrayFromImage(connected).astype(bool)

    def _distance(self, places: Sequence[tuple[int, int, int]]) -> np.ndarray:
        """Distance in mm from each voxel to the nearest of `places`, float32."""
        axes = np.ogrid[tuple(slice(size) for size in self.shape)]
        squares = [sum(((axis - index) * step) ** 2 for axis, index, step in zip(axes, place, self.spacing_mm,
                                                                                 strict=True)) for place in places]
        return np.sqrt(np.minimum.reduce(squares)).astype(np.float32)

    @cached_property
    def _smoothed(self) -> sitk.Image:
        if self.parameters.smoothing_mm == 0:
            return self.image
        return sitk.SmoothingRecursiveGaussian(self.image, self.parameters.smoothing_mm)


def _middle(box: tuple[slice, ...]) -> tuple[int, int, int]:
    z, y, x = ((axis.start + axis.stop - 1) // 2 for axis in box)
    return z, y, x


@dataclass(frozen=True)
class LabelledCase:
    """What parameters are chosen on, and what is evaluated: image float32 and label values, (Z, Y, X)."""

    name: str
    image: np.ndarray
    truth: np.ndarray
    spacing_mm: tuple[float, ...]


def chosen(training: Sequence[LabelledCase], labels: LabelSpace, settings: ClickSettings) -> Parameters:
    """The parameters of GRID with the highest mean Dice over all clicks, labels and training cases that have them."""
    return max(GRID, key=lambda parameters: mean(
        score.dice
        for case in training
        for curve in click_curves(GrownRegion(case.image, case.spacing_mm, labels, parameters), case.truth, labels,
                                  case.spacing_mm, case.name, settings).values()
        if curve.present
        for score in curve.scores[1:]))
