"""Batches of stacks with boxes around their labels, as a person might draw them: for networks that are asked by boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from samunet.dataset.labels import LabelSpace
from samunet.inputs.batches import Batch
from samunet.inputs.boxes import BoxStacks, boxes_on
from samunet.inputs.image_stack_augmentation import ImageStackAugmentation
from samunet.inputs.image_stack_batches import ImageStackBatches
from samunet.inputs.image_stacks import CaseImageStacks
from samunet.inputs.sampling import LabelSlices, Pick, Sampler
from samunet.planning.plans import EncoderPlan
from samunet.preprocessing.prompts.case_prompts import LabelPrompts

# Limits of how far out each side of a box is moved, in its extent along the axis: persons draw boxes too large more than too small.
JITTER = (-0.05, 0.15)


class BoxBatches(ImageStackBatches):
    """Augmented stacks, each asked by one 3D box for every class that its tile shows anywhere in the case.

    A box is told from the labels that the case itself is trained on: over its slices, from the first that shows the class to
    the last; in the plane around all that the tile shows of it on any slice, warped as the stack is. Then each of the six
    sides is moved at random.

    Arguments:
        names, stacks, labels, sampler, slices, augmentation: as of `ImageStackBatches`.
        plan: what tiles and pictures measure.
    """

    def __init__(
        self, names: Sequence[str], stacks: Sequence[CaseImageStacks], labels: Sequence[LabelSlices], sampler: Sampler,
        slices: int, augmentation: ImageStackAugmentation, plan: EncoderPlan,
    ) -> None:
        super().__init__(names, stacks, labels, sampler, slices, augmentation)
        self._plan, self._space = plan, sampler.labels

    def read(self, iteration: int) -> Batch:
        """`BoxStacks` and their label values (B, N, rows, columns)."""
        picks = self._sampler.picks(iteration)
        made = [self._asked(pick, self._random(iteration, sample)) for sample, pick in enumerate(picks)]
        inputs = BoxStacks.of(torch.stack([pictures for pictures, _, _ in made]), [asked for _, _, asked in made])
        return Batch(iteration, [self._names[pick.case] for pick in picks], inputs, torch.stack([labels for _, labels, _ in made]))

    def _asked(self, pick: Pick, random: np.random.Generator) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        labels, space = self._labels[pick.case], self._space
        footprints = [_footprint(labels, pick.tile, index, space) for index in range(len(space.foreground))]
        planes, pictures, warped = self._stack(pick, random, footprints)
        prompts = {}
        for index, label in enumerate(space.foreground):
            shown = np.flatnonzero(labels.presence[index].any(1))
            places = warped[self._slices + index].nonzero().numpy()
            if len(places):
                box = np.stack([[shown[0], *places.min(0)], [shown[-1] + 1, *(places.max(0) + 1)]]).astype(float)
                prompts[label] = LabelPrompts(boxes=jittered(box, random)[None])
        return pictures, warped[: self._slices], boxes_on(planes, (0, 0), prompts, space, self._plan)


def jittered(box: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A box float64 (2, 3), each of whose sides is moved outwards by a share of its extent drawn from JITTER."""
    shares = random.uniform(*JITTER, (2, 3))
    return box + (box[1] - box[0]) * shares * [[-1.0], [1.0]]


def _footprint(labels: LabelSlices, tile: int, index: int, space: LabelSpace) -> np.ndarray:
    """Where the tile shows foreground class number `index` on any slice of the case, int16 (rows, columns)."""
    shown = np.zeros(labels.frame.tile, bool)
    for plane in np.flatnonzero(labels.presence[index, :, tile]):
        shown |= space.mask(labels.tile(int(plane), tile), space.foreground[index])
    return shown.astype(np.int16)
