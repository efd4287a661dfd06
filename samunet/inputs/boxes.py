"""Stacks of encoder images with the boxes that prompt on their slices: of prompts, and around training labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from samunet.dataset.labels import LabelSpace
from samunet.inputs.batches import Key
from samunet.inputs.image_stacks import CaseImageStacks, ImageStackSamples, planes_of
from samunet.inputs.protocols import Place
from samunet.inputs.sampling import LabelSlices, Pick
from samunet.planning.plans import EncoderPlan
from samunet.preprocessing.prompts.case_prompts import CasePrompts, LabelPrompts

NO_BOX = -1  # channel of a place that no box takes
# Limits of how far out each side of a box is moved, in its extent along the axis: annotators tend to draw boxes too
# large.
JITTER = (-0.05, 0.15)


@dataclass(frozen=True)
class BoxStacks:
    """B stacks of N slices and up to Q boxes in each.

    Arguments:
        images: float32 (B, N, n, 3, H, W), of the tile alone.
        boxes: float32 (B, Q, N, 4), x0, y0, x1, y1 in pixels of the encoder's input; NaN on slices that the box does
            not reach.
        channels: int64 (B, Q), of the label space: the class of the box; NO_BOX where there are fewer than Q.
    """

    images: Tensor
    boxes: Tensor
    channels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: slice) -> BoxStacks:
        return BoxStacks(self.images[chosen], self.boxes[chosen], self.channels[chosen])

    def to(self, device: torch.device) -> BoxStacks:
        """The same on `device`."""
        return BoxStacks(self.images.to(device), self.boxes.to(device), self.channels.to(device))

    @classmethod
    def of(cls, images: Tensor, prompts: Sequence[tuple[Tensor, Tensor]]) -> BoxStacks:
        """From images (B, ...) and what `boxes_on` gives of each stack, filled up to the most boxes, at least one."""
        most = max(1, *(len(channels) for _, channels in prompts))
        boxes = torch.full((len(prompts), most, images.shape[1], 4), torch.nan)
        channels = torch.full((len(prompts), most), NO_BOX)
        for index, (their_boxes, their_channels) in enumerate(prompts):
            boxes[index, : len(their_boxes)], channels[index, : len(their_boxes)] = their_boxes, their_channels
        return cls(images, boxes, channels)


class CaseBoxStacks:
    """Volumes of a case by (first slice, tile), with the boxes that its prompts hold; see `CaseInputs`.

    Arguments:
        stacks: the images.
        prompts: of the case; their points are not used.
        mirror: in-plane axes (0 rows, 1 columns) along which the images of each tile are flipped.
    """

    def __init__(
        self, stacks: CaseImageStacks, prompts: CasePrompts, labels: LabelSpace, plan: EncoderPlan,
        mirror: Sequence[int] = (),
    ) -> None:
        self.frame, self.depth = stacks.frame, stacks.depth
        self._stacks, self._prompts, self._labels, self._plan, self._mirror = stacks, prompts, labels, plan, mirror

    def read(self, picks: Sequence[Place]) -> BoxStacks:
        """The stacks of `picks`."""
        above, before = self.frame.before
        boxes = []
        for first, tile in picks:
            top, left = self.frame.starts[tile]
            planes = planes_of(first, self._plan.adapters.slices, self.depth)
            origin = top - above, left - before
            boxes.append(boxes_on(planes, origin, self._prompts, self._labels, self._plan, self._mirror))
        return BoxStacks.of(self._stacks.read(picks), boxes)


def boxes_on(
    planes: Sequence[int], origin: tuple[int, int], prompts: CasePrompts, labels: LabelSpace, plan: EncoderPlan,
    mirror: Sequence[int] = (),
) -> tuple[Tensor, Tensor]:
    """The boxes of `prompts` that reach a tile of a stack; each is the same box on each of its slices, cut to the tile.

    Arguments:
        planes: the stack's slices. origin: (row, column) of the tile's first voxel, which may be outside the case.
        mirror: axes along which the tile is flipped.

    Returns:
        boxes float32 (Q, N, 4) and channels int64 (Q,), as `BoxStacks` has them.
    """
    pixels = plan.input_size / max(plan.tile_shape)  # of the encoder's input, for each voxel
    first = labels.channels - len(labels.foreground)  # of regions the background has no channel
    boxes, channels = [], []
    for channel, label in enumerate(labels.foreground, first):
        for box in prompts[label].boxes if label in prompts else ():
            corners = np.full((len(planes), 2, 2), np.nan)
            for index, plane in enumerate(planes):
                cut = LabelPrompts(boxes=box[None]).on_tile(plane, origin, plan.tile_shape).boxes
                corners[index, :, :] = cut[0] if len(cut) else np.nan
            for axis in mirror:
                corners[:, :, axis] = plan.tile_shape[axis] - corners[:, ::-1, axis]
            if np.isfinite(corners).any():
                boxes.append(corners[:, :, ::-1].reshape(len(planes), 4) * pixels)
                channels.append(channel)
    return torch.from_numpy(np.reshape(boxes, (-1, len(planes), 4))).float(), torch.tensor(channels, dtype=torch.long)


class BoxSamples:
    """Augmented stacks, each prompted by one 3D box for every class that its tile shows anywhere in the case.

    A box follows from the labels that the case itself is trained on: over its slices, from the first that shows the
    class to the last; in the plane around all that the tile shows of it on any slice, warped as the stack is. Then each
    of the six sides is moved at random.

    Arguments:
        stacks: the samples without boxes.
        labels: the label space.
        plan: what tiles and images measure.
    """

    def __init__(self, stacks: ImageStackSamples, labels: LabelSpace, plan: EncoderPlan) -> None:
        self._stacks, self._space, self._plan = stacks, labels, plan

    def read(self, picks: Sequence[Pick], keys: Sequence[Key]) -> tuple[BoxStacks, Tensor]:
        """`BoxStacks` and their label values int64 (B, N, rows, columns)."""
        samples = [self._sample(pick, np.random.default_rng([*key, 1])) for pick, key in zip(picks, keys, strict=True)]
        stacks = BoxStacks.of(torch.stack([images for images, _, _ in samples]), [boxes for _, _, boxes in samples])
        return stacks, torch.stack([labels for _, labels, _ in samples])

    def _sample(self, pick: Pick, random: np.random.Generator) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        labels, space, slices = self._stacks.labels[pick.case], self._space, self._stacks.slices
        footprints = [_footprint(labels, pick.tile, index, space) for index in range(len(space.foreground))]
        planes, images, warped = self._stacks.sample(pick, random, footprints)
        prompts = {}
        for index, label in enumerate(space.foreground):
            shown = np.flatnonzero(labels.presence[index].any(1))
            places = warped[slices + index].nonzero().numpy()
            if len(places):
                box = np.stack([[shown[0], *places.min(0)], [shown[-1] + 1, *(places.max(0) + 1)]]).astype(float)
                prompts[label] = LabelPrompts(boxes=jittered(box, random)[None])
        return images, warped[:slices], boxes_on(planes, (0, 0), prompts, space, self._plan)


def jittered(box: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A box float64 (2, 3), each side moved outwards by a random share of its extent between JITTER's limits."""
    shares = random.uniform(*JITTER, (2, 3))
    return box + (box[1] - box[0]) * shares * [[-1.0], [1.0]]


def _footprint(labels: LabelSlices, tile: int, index: int, space: LabelSpace) -> np.ndarray:
    """Where the tile shows foreground class number `index` on any slice of the case, int16 (rows, columns)."""
    shown = np.zeros(labels.frame.tile, bool)
    for plane in np.flatnonzero(labels.presence[index, :, tile]):
        shown |= space.mask(labels.tile(int(plane), tile), space.foreground[index])
    return shown.astype(np.int16)
