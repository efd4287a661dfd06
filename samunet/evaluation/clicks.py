"""Clicks that evaluation simulates from the reference, and the scores after each of them.

The rule is that of the challenge "Foundation Models for Interactive 3D Biomedical Image Segmentation" (CVPR 2025), as
its public evaluation script CVPR25_iter_eval.py has it; the functions name where this one differs. Training simulates
its clicks by another rule. A score after such clicks is an oracle's: the reference has chosen the prompts.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from samunet.evaluation.case_metrics import overlap_metrics
from samunet.evaluation.surface import surface_metrics

SIMULATOR = "largest_error"
TOLERANCE_MM = 2.0  # of NSD
AREA_VALUES = 5  # so that an area is at most 4


@dataclass(frozen=True)
class Click:
    """A click on voxel `place` (z, y, x): the voxel belongs to the object (`positive`), or it must not."""

    place: tuple[int, int, int]
    positive: bool


@dataclass(frozen=True)
class ClickScore:
    """Dice and NSD (tolerance 2 mm) of one answer, 0 to 1."""

    dice: float
    nsd: float


@dataclass(frozen=True)
class ClickCurve:
    """The scores of one label of one case by the number of clicks, and the clicks.

    Arguments:
        scores: N + 1 of them: before the first click (after the box, if there is one), then after each click.
        clicks: N; None where the answer had no error, so that there was nothing to click on.
        present: whether the reference has the label.
    """

    scores: tuple[ClickScore, ...]
    clicks: tuple[Click | None, ...]
    present: bool

    @property
    def areas(self) -> ClickScore | None:
        """The areas below Dice and NSD over the last five values; None if there are fewer than five clicks."""
        if len(self.clicks) < AREA_VALUES:
            return None
        return ClickScore(area([score.dice for score in self.scores]), area([score.nsd for score in self.scores]))


def next_click(truth: np.ndarray, answer: np.ndarray, random: np.random.Generator) -> Click | None:
    """The click on the middle of the largest error of one label; None if there is no error.

    As in the challenge: an error is a voxel in which the two masks differ; errors that touch by a face, an edge or a
    corner are one component; the largest has the most voxels; its middle is the voxel farthest from the component's
    outside, in voxels and not in mm, where all around the image is outside; among equally far voxels one is
    chosen at random; the click is positive if the reference has the object there.

    Ours: of components with equally many voxels, the one whose first voxel comes first in memory is taken (the
    challenge leaves this to its library); `random` differs between clicks (the challenge seeds it with 42 for
    each); in an image of one slice, distances are those in the slice, since all voxels touch the outside in depth.

    Arguments:
        truth, answer: bool (Z, Y, X). random: for ties alone.
    """
    error = truth ^ answer
    if not error.any():
        return None
    box = ndimage.find_objects(error.view(np.uint8), 1)[0]
    components, _ = ndimage.label(error[box], np.ones((3, 3, 3)))
    component = components == 1 + int(np.argmax(np.bincount(components.ravel())[1:]))
    outside = (int(len(error) > 1), 1, 1)  # voxels around it
    distance = ndimage.distance_transform_edt(np.pad(component, [(width, width) for width in outside]))
    middles = np.argwhere(distance == distance.max()) - outside + [axis.start for axis in box]
    z, y, x = (int(index) for index in middles[random.integers(len(middles))])
    return Click((z, y, x), bool(truth[z, y, x]))


def tie_breaker(seed: int, case: str, label: str, click: int) -> np.random.Generator:
    """The generator of click number `click` (from 0): the same on every machine, whatever else is evaluated."""
    return np.random.default_rng([seed, zlib.crc32(case.encode()), zlib.crc32(label.encode()), click])


def tight_box(truth: np.ndarray) -> tuple[list[int], list[int]] | None:
    """The first and the last voxel (z, y, x) of the box around a mask (Z, Y, X); None if it is empty.

    Ours: the challenge's box has the extent of the middle slice in the plane.
    """
    voxels = np.argwhere(truth)
    return (voxels.min(0).tolist(), voxels.max(0).tolist()) if len(voxels) else None


def click_score(truth: np.ndarray, answer: np.ndarray, spacing_mm: Sequence[float]) -> ClickScore:
    """Dice and NSD of one answer.

    Both masks empty: 1 and 1, so that a case without the object counts; `samunet_evaluate_folder` leaves such cases
    out, and the challenge has none. The challenge sets NSD to 0 where Dice is at most 0.2; here it is always computed.

    Arguments:
        truth, answer: bool (Z, Y, X). spacing_mm: (z, y, x).
    """
    if not truth.any() and not answer.any():
        return ClickScore(1.0, 1.0)
    return ClickScore(overlap_metrics(truth, answer, truth.size)["Dice"],
                      surface_metrics(truth, answer, spacing_mm, TOLERANCE_MM).nsd)


def area(values: Sequence[float]) -> float:
    """The area below the last five of `values` by the trapezoid rule, one apart: 4 if all of them are 1."""
    last = values[-AREA_VALUES:]
    return float(sum(last) - (last[0] + last[-1]) / 2)
