"""Volumes of the encoder's pictures, for networks whose encoder sees neighbouring slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from samunet.inputs.protocols import CaseInputs, Pick


class CaseImageStacks:
    """Volumes of a case by (first slice, tile); see `CaseInputs`.

    Slices before the first are the first one repeated, those after the last the last one, as MA-SAM pads its volumes (Chen et
    al., arXiv 2309.08842). A slice that several stacks of one call hold is made once.

    Arguments:
        pictures: of the case's single slices and tiles, square.
        slices: N of a stack.
        canvas: rows and columns in pixels that a tile covers; the zeros around them are cut off. The paper has square inputs.
    """

    def __init__(self, pictures: CaseInputs, slices: int, canvas: tuple[int, int]) -> None:
        self.frame, self.depth = pictures.frame, pictures.depth
        self._pictures, self._slices, self._canvas = pictures, slices, canvas

    def read(self, picks: Sequence[Pick]) -> Tensor:
        """Float32 (B, N, n, 3, rows, columns) of the canvas, n the pictures of a slice that are encoded alone."""
        wanted = [(plane, tile) for first, tile in picks for plane in planes_of(first, self._slices, self.depth)]
        once = sorted(set(wanted))
        place = {pick: index for index, pick in enumerate(once)}
        rows, columns = self._canvas
        pictures = self._pictures.read(once)[..., :rows, :columns]
        return pictures[torch.tensor([place[pick] for pick in wanted])].unflatten(0, (len(picks), self._slices))


def planes_of(first: int, slices: int, depth: int) -> list[int]:
    """The slices that a stack from `first` on shows of a case of `depth`: beyond an end, the slice at that end."""
    return [int(plane) for plane in np.clip(np.arange(first, first + slices), 0, depth - 1)]
