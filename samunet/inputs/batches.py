"""What an iteration reads: inputs and label values of the picked samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from samunet.inputs.embeddings import read_across
from samunet.inputs.protocols import CaseInputs, Inputs
from samunet.inputs.sampling import LabelSlices, Pick, Sampler


@dataclass(frozen=True)
class Batch:
    """Inputs of B samples and their label values int64 (B, rows, columns), (B, N, rows, columns) of stacks; names of the cases."""

    iteration: int
    names: Sequence[str]
    inputs: Inputs
    segmentation: Tensor


class Batches(Protocol):
    """The batch of any iteration, whatever was read before; `seed` keys all of its draws."""

    seed: int

    def read(self, iteration: int) -> Batch:
        """The batch of `iteration`, on the CPU."""
        ...


class TileBatches:
    """Batches of whole tiles: cached embeddings, or pictures.

    Arguments:
        names, inputs, labels: of each case, index by index.
        sampler: picks among them.
    """

    def __init__(
        self, names: Sequence[str], inputs: Sequence[CaseInputs], labels: Sequence[LabelSlices], sampler: Sampler
    ) -> None:
        self._names, self._inputs, self._labels, self._sampler = names, inputs, labels, sampler
        self.seed = sampler.seed

    def picks(self, iteration: int) -> list[Pick]:
        """What the batch of `iteration` holds."""
        return self._sampler.picks(iteration)

    def read(self, iteration: int) -> Batch:
        """The picked inputs and label values."""
        picks = self.picks(iteration)
        inputs = read_across([self._inputs[pick.case] for pick in picks], [(pick.plane, pick.tile) for pick in picks])
        targets = np.stack([self._labels[pick.case].tile(pick.plane, pick.tile) for pick in picks])
        return Batch(iteration, [self._names[pick.case] for pick in picks], inputs, torch.from_numpy(targets.astype(np.int64)))
