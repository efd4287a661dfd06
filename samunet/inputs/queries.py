"""Embeddings of pictures together with which part of the support must not prompt on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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
