"""Prompts simulated from training labels: first clicks, boxes and masks to correct, then clicks in the largest error.

The simulator of the evaluation (maximum of the distance transform) is another one, on purpose: a network that was
trained on the very places that it is evaluated on would be flattered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy.ndimage import binary_erosion, label
from torch import Tensor

from samunet.dataset.labels import LabelSpace
from samunet.inputs.corruption import corrupted, split_at_face
from samunet.networks.volumetric_prompts import NEGATIVE, PADDING, POSITIVE, PromptTensors

PRESENT_SHARE = 0.9  # of the queries for a class that the patch shows, where it shows any
# Shares of the queries for a class that is shown: without any prompt, from a mask to correct, and of a window into
# which a target has grown from the next one.
UNPROMPTED, CORRECTING, GROWN = 0.05, 0.3, 0.15
BOX_SHARE, BOX_ALONE = 0.25, 0.5  # of the others: with a box, and of these without a click
MORE_CLICKS, MOST_CLICKS = 0.4, 10  # share with more than one positive click, and how many at most
NEGATIVE_SHARE = 0.2  # with a negative click from the start
JITTER = (-0.05, 0.15)  # limits of how far out a box's sides are moved, in its extent: people draw boxes too large


def _no_places() -> np.ndarray:
    return np.zeros((0, 3))


@dataclass(frozen=True)
class Query:
    """What is asked of one patch for one class, and the answer that is wanted.

    Arguments:
        index: of the foreground label.
        target: bool (z, y, x). counts: bool (z, y, x), where the label is known.
        previous: bool (z, y, x), the mask to correct.
        points: float64 (N, 3) in voxels of the patch, perhaps outside it; the middle of voxel i is i + 0.5.
        positive: bool (N,).
        sources: float64 (N, 3), the places whose features the points have: their own, or, for a point outside the
            patch, one inside that stands for it.
        boxes: float64 (M, 2, 3).
    """

    index: int
    target: np.ndarray
    counts: np.ndarray
    previous: np.ndarray
    points: np.ndarray = field(default_factory=_no_places)
    positive: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    sources: np.ndarray = field(default_factory=_no_places)
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 3)))

    def clicked(self, place: np.ndarray, positive: bool, source: np.ndarray | None = None) -> Query:
        """The query with one point more."""
        return replace(self, points=np.vstack([self.points, place]), positive=np.append(self.positive, positive),
                       sources=np.vstack([self.sources, place if source is None else source]))


def first_query(labels: np.ndarray, space: LabelSpace, token: Sequence[int], random: np.random.Generator) -> Query:
    """A query on a patch before the first answer.

    Arguments:
        labels: label values int (z, y, x). token: voxels (z, y, x) of one, the measure of corruptions.
    """
    counts = np.asarray(space.valid(labels))
    masks = [np.asarray(space.mask(labels, each)) & counts for each in space.foreground]
    shown = [index for index, mask in enumerate(masks) if mask.any()]
    absent = [index for index, mask in enumerate(masks) if not mask.any()]
    wanted = shown if shown and (not absent or random.random() < PRESENT_SHARE) else absent
    index = wanted[int(random.integers(len(wanted)))]
    query = Query(index, masks[index], counts, np.zeros(labels.shape, bool))
    return _shown(query, token, random) if masks[index].any() else _absent(query, token, random)


def corrected(query: Query, answer: np.ndarray, random: np.random.Generator) -> Query:
    """The query after `answer` bool (z, y, x): a click in the interior of the largest part of its error.

    Positive in what it misses, negative in what it should not hold. A right answer gets no click.
    """
    query = replace(query, previous=answer)
    parts = [(part, positive) for error, positive in ((query.target & ~answer, True), (answer & ~query.target, False))
             for part in [largest(error & query.counts)]]
    part, positive = max(parts, key=lambda each: int(each[0].sum()))
    return query.clicked(_place_in(part, random), positive) if part.any() else query


def _absent(query: Query, token: Sequence[int], random: np.random.Generator) -> Query:
    """Of a class that the patch does not show: nothing, a negative click anywhere, or a wrong mask and a click in it.
    """
    choice = int(random.integers(3))
    if choice == 0:
        return query
    if choice == 1:
        return query.clicked(_place_in(np.ones_like(query.target), random), False)
    return corrected(query, corrupted(query.target, token, random), random)


def _shown(query: Query, token: Sequence[int], random: np.random.Generator) -> Query:
    """Of a class that the patch shows."""
    choice = random.random()
    if choice < UNPROMPTED:
        return replace(query, target=np.zeros_like(query.target))
    if choice < UNPROMPTED + CORRECTING:
        return corrected(query, corrupted(query.target, token, random), random)
    if choice < UNPROMPTED + CORRECTING + GROWN:
        known, outside = split_at_face(query.target, random)
        if known.any():
            source = _place_in(known, random)
            return replace(query, previous=known).clicked(outside(source), True, source)
    if random.random() < BOX_SHARE:
        query = replace(query, boxes=_box_of(query.target, random)[None])
        if random.random() < BOX_ALONE:
            return query
    clicks = int(random.integers(2, MOST_CLICKS + 1)) if random.random() < MORE_CLICKS else 1
    for _ in range(clicks):
        query = query.clicked(_place_in(_any_part(query.target, random), random), True)
    if random.random() < NEGATIVE_SHARE and (query.counts & ~query.target).any():
        query = query.clicked(_place_in(query.counts & ~query.target, random), False)
    return query


def tensors_of(queries: Sequence[Query], device: torch.device) -> tuple[PromptTensors, Tensor]:
    """Prompts of B queries on a patch each, without tokens; and the places float32 (B, P, 3) that these come from."""
    points = max(len(query.points) for query in queries)
    boxes = max(len(query.boxes) for query in queries)

    def padded(values: np.ndarray, length: int, fill: float) -> np.ndarray:
        missing = np.full((length - len(values), *values.shape[1:]), fill)
        return np.concatenate([values, missing]).astype(np.float32)

    def stacked(rows: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(rows)).to(device)

    polarity = [padded(np.where(query.positive, POSITIVE, NEGATIVE), points, PADDING) for query in queries]
    prompts = PromptTensors(
        classes=torch.tensor([query.index for query in queries], device=device),
        points=stacked([padded(query.points, points, 0.0) for query in queries]),
        polarity=stacked(polarity).long(),
        boxes=stacked([padded(query.boxes, boxes, np.nan) for query in queries]),
        previous=stacked([query.previous.astype(np.float32) for query in queries]),
    )
    return prompts, stacked([padded(query.sources, points, 0.0) for query in queries])


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest part of `mask` bool (z, y, x) that is connected by faces, the first of equals; empty of none."""
    parts, count = label(mask)
    if count < 2:
        return mask
    return np.asarray(parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])))


def _any_part(mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One of the parts of `mask` that are connected by faces, each as likely as any other, whatever its size."""
    parts, count = label(mask)
    return np.asarray(parts == 1 + int(random.integers(count)))


def _place_in(mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The middle of a voxel of `mask`, of those that it surrounds where there are any; float64 (3,)."""
    inner = binary_erosion(mask, border_value=1)
    voxels = np.argwhere(inner if inner.any() else mask)
    return np.asarray(voxels[random.integers(len(voxels))] + 0.5)


def _box_of(target: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A box around one part of the target, or all of it, each side moved at random; float64 (2, 3)."""
    voxels = np.argwhere(target if random.random() < 0.5 else _any_part(target, random))
    box = np.stack([voxels.min(0), voxels.max(0) + 1]).astype(float)
    return box + (box[1] - box[0]) * random.uniform(*JITTER, (2, 3)) * [[-1.0], [1.0]]
