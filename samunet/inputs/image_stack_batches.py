"""Batches of stacks of the encoder's pictures: sampled and augmented keyed by (seed, iteration, sample)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from samunet.inputs.batches import Batch
from samunet.inputs.image_stack_augmentation import ImageStackAugmentation
from samunet.inputs.image_stacks import CaseImageStacks, planes_of
from samunet.inputs.sampling import LabelSlices, Pick, Sampler
from samunet.inputs.volume_batches import first_slice


class ImageStackBatches:
    """Volumes that hold the picked slices at random places; what is repeated beyond the ends of a short case is labelled alike.

    Arguments:
        names, stacks, labels: of each case, index by index.
        sampler: picks case, slice and tile.
        slices: N of a stack.
    """

    def __init__(
        self, names: Sequence[str], stacks: Sequence[CaseImageStacks], labels: Sequence[LabelSlices], sampler: Sampler,
        slices: int, augmentation: ImageStackAugmentation,
    ) -> None:
        self._names, self._stacks, self._labels, self._sampler = names, stacks, labels, sampler
        self._slices, self._augmentation = slices, augmentation
        self.seed = sampler.seed

    def read(self, iteration: int) -> Batch:
        """Augmented stacks float32 (B, N, n, 3, H, W) and their label values (B, N, rows, columns)."""
        picks = self._sampler.picks(iteration)
        made = [self._stack(pick, self._random(iteration, sample))[1:] for sample, pick in enumerate(picks)]
        return Batch(iteration, [self._names[pick.case] for pick in picks], torch.stack([pictures for pictures, _ in made]),
                     torch.stack([labels for _, labels in made]))

    def _random(self, iteration: int, sample: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, iteration, sample, 1])

    def _stack(
        self, pick: Pick, random: np.random.Generator, beside: Sequence[np.ndarray] = ()
    ) -> tuple[list[int], Tensor, Tensor]:
        """The slices of one augmented stack, its pictures and its label values, `beside` (rows, columns) warped behind them."""
        source, labels = self._stacks[pick.case], self._labels[pick.case]
        first = first_slice(pick.plane, self._slices, source.depth, random)
        planes = planes_of(first, self._slices, source.depth)
        segmentation = np.stack([*(labels.tile(plane, pick.tile) for plane in planes), *beside])
        return planes, *self._augmentation(source.read([(first, pick.tile)])[0], torch.from_numpy(segmentation), random)
