"""The encoder's pictures of one case, for networks that have the encoder in the loop."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from samunet.planning.tiles import TileFrame
from samunet.preprocessing.case_inputs import Pick
from samunet.preprocessing.embeddings import RecentInputs
from samunet.preprocessing.encoder_input import EncoderInput


class CasePictures:
    """Pictures of a case that is in memory; see `CaseInputs`."""

    def __init__(self, source: EncoderInput, mirror: Sequence[int] = ()) -> None:
        self.frame, self.depth = source.frame, source.depth
        self._source, self._mirror = source, tuple(mirror)

    def read(self, picks: Sequence[Pick]) -> Tensor:
        """Float32 (B, n, 3, S, S), n the pictures of a tile that are encoded alone."""
        pictures = self._source.pictures(picks, self._mirror)
        return pictures.reshape(len(picks), -1, *pictures.shape[1:])


class StoredCasePictures:
    """Pictures of a case, or of a view, in the array store; read when they are asked for."""

    def __init__(self, name: str, inputs: RecentInputs) -> None:
        self._name, self._inputs = name, inputs
        self.depth, rows, columns = inputs.arrays.properties(name).shape
        self.frame = TileFrame((rows, columns), inputs.plan.tile_shape, inputs.plan.tile_step)

    def read(self, picks: Sequence[Pick]) -> Tensor:
        """Float32 (B, n, 3, S, S)."""
        return CasePictures(self._inputs.get(self._name)).read(picks)
