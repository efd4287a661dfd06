"""What a network reads of one case, by slice and tile: embeddings, pictures or patches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from samunet.planning.tiles import TileFrame

Pick = tuple[int, int]


class CaseInputs(Protocol):
    """Inputs of one case, or of one of its views, by (slice, tile index of `frame`); of stacks by the first slice."""

    frame: TileFrame
    depth: int

    def read(self, picks: Sequence[Pick]) -> Any:
        """Float32 (B, ...) on the CPU, one entry for each pick; `Stacks` of stacks."""
        ...
