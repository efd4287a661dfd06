"""Volumes that show a labelled case in one part and an unlabelled case in the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samunet.dataset.labels import UNANNOTATED
from samunet.inputs.batches import Batch, Batches
from samunet.inputs.volumes import Volumes

BOX_FRACTION = 2 / 3  # of a volume's side


@dataclass(frozen=True)
class PastedVolumes:
    """B volumes of two cases each.

    Arguments:
        mixed: what is trained on.
        unlabelled: the unlabelled cases' volumes, before a part of each was pasted.
        labelled: bool (B, N, rows, columns), which voxels of `mixed` are the labelled case's.
    """

    mixed: Volumes
    unlabelled: Volumes
    labelled: Tensor

    def __len__(self) -> int:
        return len(self.mixed)

    def __getitem__(self, chosen: slice) -> PastedVolumes:
        return PastedVolumes(self.mixed[chosen], self.unlabelled[chosen], self.labelled[chosen])

    def to(self, device: torch.device) -> PastedVolumes:
        """The same on `device`."""
        return PastedVolumes(self.mixed.to(device), self.unlabelled.to(device), self.labelled.to(device))


class PastedBatches(Batches[Any]):
    """Batches of `PastedVolumes`, made of a batch of labelled and one of unlabelled volumes without embeddings.

    Those before iteration `settled` are of labelled volumes alone. A box of two thirds of each side is cut at random,
    one for a batch. Every second volume shows the labelled case inside it and the unlabelled one around it, the others
    the reverse. Label values are those of the labelled part, UNANNOTATED in the other.

    Arguments:
        settled: the first iteration that reads unlabelled volumes.
        flat: whether slices are thick; the box is of all slices then.
    """

    def __init__(self, labelled: Batches[Any], unlabelled: Batches[Any], settled: int, *, flat: bool) -> None:
        self._labelled, self._unlabelled, self._flat = labelled, unlabelled, flat
        self.seed, self.settled = labelled.seed, settled

    def read(self, iteration: int) -> Batch:
        """See `Batches`."""
        known = self._labelled.read(iteration)
        if iteration < self.settled:
            return known
        unknown = self._unlabelled.read(iteration)
        assert isinstance(known.inputs, Volumes) and isinstance(unknown.inputs, Volumes)
        count = len(known.inputs)
        random = np.random.default_rng([self.seed, iteration, count])  # samples have the numbers below
        inside = box(known.segmentation.shape[1:], random, flat=self._flat)
        labelled = torch.stack([inside if (iteration * count + row) % 2 == 0 else ~inside for row in range(count)])
        image = torch.where(labelled[:, None], known.inputs.image, unknown.inputs.image)
        return Batch(iteration, [*known.names, *unknown.names],
                     PastedVolumes(Volumes(image, known.inputs.embeddings), unknown.inputs, labelled),
                     torch.where(labelled, known.segmentation, UNANNOTATED))


def box(shape: Sequence[int], random: np.random.Generator, *, flat: bool) -> Tensor:
    """Bool (N, rows, columns): a box of two thirds of each side (rounded, at least 1), anywhere; of all slices if
    `flat`.
    """
    inside = torch.zeros(*shape, dtype=torch.bool)
    sides = [size if flat and axis == 0 else max(1, round(BOX_FRACTION * size)) for axis, size in enumerate(shape)]
    starts = [int(random.integers(size - side + 1)) for size, side in zip(shape, sides, strict=True)]
    inside[tuple(slice(start, start + side) for start, side in zip(starts, sides, strict=True))] = True
    return inside
