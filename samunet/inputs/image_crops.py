"""The encoder's images of one case, for networks that have the encoder in the loop."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from samunet.inputs.embeddings import RecentInputs
from samunet.inputs.encoder_input import EncoderInput
from samunet.inputs.protocols import Place
from samunet.planning.tiles import TileFrame


class CaseImageCrops:
    """Images of a case that is in memory; see `CaseInputs`."""

    def __init__(self, source: EncoderInput, mirror: Sequence[int] = ()) -> None:
        self.frame, self.depth = source.frame, source.depth
        self._source, self._mirror = source, tuple(mirror)

    def read(self, picks: Sequence[Place]) -> Tensor:
        """Float32 (B, n, 3, S, S), n the images of a tile that are encoded alone."""
        images = self._source.images(picks, self._mirror)
        return images.reshape(len(picks), -1, *images.shape[1:])


class StoredCaseImageCrops:
    """Images of a case, or of a view, in the array store; read when they are used."""

    def __init__(self, name: str, inputs: RecentInputs) -> None:
        self._name, self._inputs = name, inputs
        self.depth, rows, columns = inputs.arrays.properties(name).shape
        self.frame = TileFrame((rows, columns), inputs.plan.tile_shape, inputs.plan.tile_step)

    def read(self, picks: Sequence[Place]) -> Tensor:
        """Float32 (B, n, 3, S, S)."""
        return CaseImageCrops(self._inputs.get(self._name)).read(picks)
