"""What a network reads of one case, by slice and tile: embeddings, pictures or patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from samunet.planning.tiles import TileFrame

Pick = tuple[int, int]


class Inputs(Protocol):
    """What a network reads of a batch, by rows: a tensor (B, ...), or several that belong together."""

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: slice, /) -> Any: ...

    def to(self, device: torch.device, /) -> Any:
        """The same on `device`."""
        ...


class CaseInputs(Protocol):
    """Inputs of one case, or of one of its views, by (slice, tile index of `frame`); of stacks by the first slice."""

    frame: TileFrame
    depth: int

    def read(self, picks: Sequence[Pick]) -> Any:
        """Float32 (B, ...) on the CPU, one entry for each pick; `Volumes` of stacks."""
        ...
