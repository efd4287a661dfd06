"""In-plane patches of a case's normalised channels, for networks without SAM."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from samunet.inputs.protocols import Pick
from samunet.planning.tiles import TileFrame


class CasePatches:
    """Patches of a case in memory; see `CaseInputs`.

    Arguments:
        image: float32 (C, Z, Y, X).
        patch: (rows, columns).
        step: fraction of a patch between neighbours.
        mirror: in-plane axes (0 rows, 1 columns) along which each patch is flipped.
    """

    def __init__(self, image: np.ndarray, patch: tuple[int, int], step: float, mirror: Sequence[int] = ()) -> None:
        self.frame, self.depth = TileFrame(image.shape[2:], patch, step), image.shape[1]
        self._image, self._axes = image, tuple(axis - 2 for axis in mirror)

    def read(self, picks: Sequence[Pick]) -> Tensor:
        """Float32 (B, C, rows, columns), 0 outside the image."""
        patches = np.stack([self.frame.cut(self._image[:, plane], tile, 0.0) for plane, tile in picks])
        return torch.from_numpy(np.ascontiguousarray(np.flip(patches, self._axes)))
