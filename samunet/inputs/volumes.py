"""Volumes of slices with the embeddings of those slices, for 3D networks that are joined with SAM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from samunet.inputs.protocols import CaseInputs, Pick
from samunet.planning.volume_rules import VolumePlan


@dataclass(frozen=True)
class Volumes:
    """B stacks: image float32 (B, C, N, rows, columns), embeddings float32 (B, D, *cells) on the cells of a `VolumePlan`."""

    image: Tensor
    embeddings: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, chosen: slice) -> Volumes:
        return Volumes(self.image[chosen], self.embeddings[chosen])

    def to(self, device: torch.device) -> Volumes:
        """The same on `device`."""
        return Volumes(self.image.to(device), self.embeddings.to(device))


class CaseVolumes:
    """Volumes of a case by (first slice, tile); see `CaseInputs`.

    Slices before the first and after the last are 0 in the image, as is what lies outside it in-plane; their embeddings are
    those of the slice at that end.

    Arguments:
        image: gives the normalised channels, float32 (C, Z, Y, X).
        embeddings: of the case's slices and tiles.
        plan: of the stack.
        mirror: in-plane axes (0 rows, 1 columns) along which `embeddings` are mirrored; the image's tiles follow.
    """

    def __init__(
        self, image: Callable[[], np.ndarray], embeddings: CaseInputs, plan: VolumePlan, mirror: Sequence[int] = ()
    ) -> None:
        self.frame, self.depth = embeddings.frame, embeddings.depth
        self._image, self._embeddings, self._plan = image, embeddings, plan
        self._axes = tuple(axis - 2 for axis in mirror)

    def read(self, picks: Sequence[Pick]) -> Volumes:
        """One stack for each pick."""
        return Volumes(torch.stack([self._images(*pick) for pick in picks]), torch.stack([self._cells(*pick) for pick in picks]))

    def _images(self, first: int, tile: int) -> Tensor:
        low, high = max(first, 0), min(first + self._plan.depth, self.depth)
        planes = self.frame.cut(self._image()[:, low:high], tile, 0.0)
        planes = np.pad(planes, ((0, 0), (low - first, first + self._plan.depth - high), (0, 0), (0, 0)))
        return torch.from_numpy(np.ascontiguousarray(np.flip(planes, self._axes) if self._axes else planes))

    def _cells(self, first: int, tile: int) -> Tensor:
        wanted = np.clip(np.arange(first, first + self._plan.padded[0]), 0, self.depth - 1)
        planes, place = np.unique(wanted, return_inverse=True)
        read = self._embeddings.read([(int(plane), tile) for plane in planes])
        return on_cells(read, torch.from_numpy(place), self._plan)


def on_cells(embeddings: Tensor, place: Tensor, plan: VolumePlan) -> Tensor:
    """Embeddings on the cells of the stage at which they join: linear in-plane, the mean over the slices of a cell.

    Arguments:
        embeddings: float32 (M, D, g, g), over squares whose side is the tile's longer one.
        place: int64 (padded slices,), which of the M each slice has.

    Returns:
        float32 (D, *plan.cells).
    """
    side = max(plan.shape[1:])
    # The middle of each cell, from -1 to 1 over the square.
    y, x = ((torch.arange(plan.cells[axis]) + 0.5) * plan.cell[axis] * 2 / side - 1 for axis in (1, 2))
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)
    sampled = grid_sample(embeddings, grid.expand(len(embeddings), -1, -1, -1), padding_mode="border", align_corners=False)
    slices = sampled[place].view(plan.cells[0], plan.cell[0], *sampled.shape[1:])
    return slices.mean(1).movedim(0, 1)
