"""Embeddings of tiles together with the part of the support that must not prompt on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from samunet.inputs.batches import Key
from samunet.inputs.sampling import Pick
from samunet.inputs.support import unit_of
from samunet.inputs.tiles import TileSamples


@dataclass(frozen=True)
class Queries:
    """`embeddings` float32 (B, D, g, g); `units` int64 (B,): support of that unit is left out, -1: none is."""

    embeddings: Tensor
    units: Tensor

    def __len__(self) -> int:
        return len(self.embeddings)

    def __getitem__(self, chosen: slice) -> Queries:
        return Queries(self.embeddings[chosen], self.units[chosen])

    def to(self, device: torch.device) -> Queries:
        """The same on `device`."""
        return Queries(self.embeddings.to(device), self.units.to(device))


class QuerySamples:
    """Whole tiles of embeddings, each with the unit of the support that must not prompt on it.

    Arguments:
        tiles: the samples without units.
        names, depths: of each case, index by index; slices of each.
        support: the support's cases.
    """

    def __init__(self, tiles: TileSamples, names: Sequence[str], depths: Sequence[int], support: Sequence[str]) -> None:
        self._tiles, self._names, self._depths, self._support = tiles, names, depths, support

    def read(self, picks: Sequence[Pick], keys: Sequence[Key]) -> tuple[Queries, Tensor]:
        """`Queries` and label values int64 (B, rows, columns)."""
        embeddings, segmentation = self._tiles.read(picks, keys)
        units = [unit_of(self._names[pick.case], pick.plane, self._support, self._depths[pick.case]) for pick in picks]
        return Queries(embeddings, torch.tensor(units)), segmentation
