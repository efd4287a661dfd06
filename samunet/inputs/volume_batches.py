"""Batches of stacks of slices with their embeddings: sampled and augmented keyed by (seed, iteration, sample)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from samunet.dataset.labels import OUTSIDE
from samunet.inputs.batches import Batch
from samunet.inputs.sampling import LabelSlices, Pick, Sampler
from samunet.inputs.volume_augmentation import VolumeAugmentation
from samunet.inputs.volumes import CaseVolumes, Volumes
from samunet.planning.volume_rules import VolumePlan


class VolumeBatches:
    """Volumes that hold the picked slices at random places; a case with fewer slices than a stack lies in its middle.

    Arguments:
        names, stacks, labels: of each case, index by index.
        sampler: picks case, slice and tile.
    """

    def __init__(
        self, names: Sequence[str], stacks: Sequence[CaseVolumes], labels: Sequence[LabelSlices], sampler: Sampler,
        plan: VolumePlan, augmentation: VolumeAugmentation,
    ) -> None:
        self._names, self._stacks, self._labels, self._sampler = names, stacks, labels, sampler
        self._plan, self._augmentation = plan, augmentation
        self.seed = sampler.seed

    def read(self, iteration: int) -> Batch:
        """Augmented stacks and their label values (B, N, rows, columns)."""
        picks = self._sampler.picks(iteration)
        made = [self._stack(pick, [self.seed, iteration, sample, 1]) for sample, pick in enumerate(picks)]
        stacks = Volumes(torch.cat([each.image for each, _ in made]), torch.cat([each.embeddings for each, _ in made]))
        return Batch(iteration, [self._names[pick.case] for pick in picks], stacks, torch.stack([labels for _, labels in made]))

    def _stack(self, pick: Pick, key: Sequence[int]) -> tuple[Volumes, torch.Tensor]:
        source, labels = self._stacks[pick.case], self._labels[pick.case]
        random = np.random.default_rng(key)
        first = first_slice(pick.plane, self._plan.depth, source.depth, random)
        planes = [labels.tile(plane, pick.tile) if 0 <= plane < source.depth else None
                  for plane in range(first, first + self._plan.depth)]
        outside = np.full(self._plan.shape[1:], OUTSIDE, np.int16)
        segmentation = np.stack([outside if plane is None else plane for plane in planes])
        return self._augmentation(source.read([(first, pick.tile)]), torch.from_numpy(segmentation), random, key)


def first_slice(plane: int, depth: int, slices: int, random: np.random.Generator) -> int:
    """First slice of a stack of `depth` that holds `plane` of a case of `slices`; negative where the case is shorter."""
    if slices <= depth:
        return -((depth - slices) // 2)
    return int(np.clip(plane - random.integers(depth), 0, slices - depth))
