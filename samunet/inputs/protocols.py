"""What a network reads of one case, by slice and tile: embeddings, image crops or patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from samunet.planning.tiles import TileFrame

Place = tuple[int, int]
"""A slice, or the first slice of several, and a tile of the case's frame, by its index."""


class Inputs(Protocol):
    """What a network reads of a batch, by rows: a tensor (B, ...), or several that belong together."""

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: slice, /) -> Any: ...

    def to(self, device: torch.device, /) -> Any:
        """The same on `device`."""
        ...


class CaseInputs(Protocol):
    """Inputs of one case, or of one of its views, by (slice, tile index of `frame`).

    Of stacks and volumes by the first slice.
    """

    frame: TileFrame
    depth: int

    def read(self, picks: Sequence[Place]) -> Any:
        """Float32 (B, ...) on the CPU, one entry for each pick; or `Volumes`, `BoxStacks`."""
        ...
