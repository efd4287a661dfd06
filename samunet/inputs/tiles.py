"""Samples that are whole tiles of single slices: cached embeddings, or image crops."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from samunet.inputs.batches import Key
from samunet.inputs.embeddings import read_across
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.sampling import LabelSlices, Pick


class TileSamples:
    """The picked tiles as they are cached or stored; their augmentation is in the cases' views.

    Arguments:
        inputs, labels: of each case, index by index.
    """

    def __init__(self, inputs: Sequence[CaseInputs], labels: Sequence[LabelSlices]) -> None:
        self._inputs, self._labels = inputs, labels

    def read(self, picks: Sequence[Pick], keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
        """Inputs float32 (B, ...) and label values int64 (B, rows, columns)."""
        inputs = read_across([self._inputs[pick.case] for pick in picks], [(pick.plane, pick.tile) for pick in picks])
        targets = np.stack([self._labels[pick.case].tile(pick.plane, pick.tile) for pick in picks])
        return inputs, torch.from_numpy(targets.astype(np.int64))
