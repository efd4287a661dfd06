"""Prompts of one case: points in its labels and boxes around them, on the plan's grid or in its files' own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from samunet.dataset.labels import Label


class TilePrompts(NamedTuple):
    """What a 2D network sees of prompts on one tile, in voxels of the tile: points float64 (T, 2) and boxes float64
    (B, 2, 2), both (row, column), and for each point whether it is positive, bool (T,).
    """

    points: np.ndarray
    boxes: np.ndarray
    positive: np.ndarray


@dataclass(frozen=True)
class LabelPrompts:
    """Prompts of one label (or region) of one case.

    On the plan's grid positions are (z, y, x), and voxel i of an axis spans [i, i + 1): its middle is i + 0.5. A
    prompts file's own (`preprocessing.prompts.file`) are (x, y, z).

    Arguments:
        points: float64 (N, 3), in the order in which they were given. All points of one slice prompt one object.
        boxes: float64 (M, 2, 3), the corner where every axis is lowest and the one where it is highest. Each prompts
            an object of its own.
        positive: bool (N,), whether each point is in the label (True) or must not be part of it; all are, if not given.
    """

    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 3)))
    positive: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self) -> None:
        if len(self.positive) == 0 < len(self.points):
            object.__setattr__(self, "positive", np.ones(len(self.points), bool))
        assert len(self.positive) == len(self.points)

    def on_tile(self, slice_: int, origin: tuple[int, int], tile: tuple[int, int]) -> TilePrompts:
        """What a 2D network sees of them on one tile of one slice.

        A point is seen on its own slice alone. A box is cut into the same box on every slice whose middle it holds, on
        at least one, and to the tile.

        Arguments:
            origin: (row, column) of the tile's first voxel, which may be outside the case.
            tile: (rows, columns).
        """
        points = self.points[:, 1:] - origin
        seen = (np.floor(self.points[:, 0]) == slice_) & ((points >= 0) & (points < tile)).all(1)
        low, high = self.boxes[:, 0, 0], self.boxes[:, 1, 0]
        thin = np.ceil(low - 0.5) + 0.5 >= high  # it holds no slice's middle
        here = np.where(thin, np.floor((low + high) / 2) == slice_, (low <= slice_ + 0.5) & (slice_ + 0.5 < high))
        boxes = np.clip(self.boxes[here][:, :, 1:] - origin, 0, tile)
        return TilePrompts(points[seen], boxes[(boxes[:, 1] > boxes[:, 0]).all(1)], self.positive[seen])


CasePrompts = Mapping[Label, LabelPrompts]
"""Label value, or region's values, -> its prompts on the plan's grid. A missing label is nowhere in the case."""
