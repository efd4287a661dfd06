"""Embeddings of a frozen encoder by (slice, tile), encoded when they are read; rounded as the cache rounds them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from samunet.inputs.encoder_input import EncoderInput
from samunet.inputs.protocols import CaseInputs, Place
from samunet.inputs.quantize import rounded
from samunet.inputs.recent import Recent
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.encoder_spec import PATCH_SIZE
from samunet.planning.plans import EncoderPlan, Plans
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.arrays import Arrays
from samunet.preprocessing.case import PreparedCase

# Images of 256 tokens that are encoded at once; of larger ones as many as have no more tokens in all. Products of
# 2048 rows keep a processor busy; a GPU wants more.
AT_ONCE, AT_ONCE_ON_GPU = 8, 64
REFERENCE_TOKENS = 256


class EncodedWhenRead(ABC):
    """Embeddings that are not stored.

    Equal to the cached ones, bit for bit, on the same machine and number of threads.
    """

    def __init__(
        self, frame: TileFrame, depth: int, plan: EncoderPlan, encoder: Encoder, mirror: Sequence[int] = ()
    ) -> None:
        self.frame, self.depth = frame, depth
        self._plan, self._encoder, self._mirror = plan, encoder, tuple(mirror)

    @abstractmethod
    def input(self) -> EncoderInput:
        """The case's images."""

    def images(self, picks: Sequence[Place]) -> Tensor:
        """The images float32 (B * channels that are encoded alone, 3, S, S) of B picks."""
        return self.input().images(picks, self._mirror)

    def read(self, picks: Sequence[Place]) -> Tensor:
        """Float32 (B, D, g, g) on the CPU."""
        return self.embeddings(self.images(picks), len(picks))

    def embeddings(self, images: Tensor, count: int) -> Tensor:
        """The embeddings of the `images` of `count` picks."""
        encoded = rounded(encode(self._encoder, images), self._plan.cache_dtype)
        # Channels that are encoded alone stand side by side in the embedding's channels.
        return encoded.reshape(count, -1, *encoded.shape[2:])


class LiveEmbeddings(EncodedWhenRead):
    """Embeddings of a case that is in memory.

    Arguments:
        mirror: in-plane axes (0 rows, 1 columns) along which each tile is flipped before it is encoded; the caller
            flips the tile's logits back.
        step: tile step that replaces the plan's.
    """

    def __init__(
        self, case: PreparedCase, plans: Plans, encoder: Encoder, *, mirror: Sequence[int] = (),
        step: float | None = None,
    ) -> None:
        plan = plans.for_encoder(encoder.spec.id)
        self._input = EncoderInput(case, plans.dataset, plan, encoder.spec.family, step)
        super().__init__(self._input.frame, self._input.depth, plan, encoder, mirror)

    def input(self) -> EncoderInput:
        """See `EncodedWhenRead`."""
        return self._input


class HeldEmbeddings:
    """Embeddings of a case, each read from `source` once, when it is first needed, and held in memory."""

    def __init__(self, source: CaseInputs) -> None:
        self.frame, self.depth = source.frame, source.depth
        self._source = source
        self._held: dict[Place, Tensor] = {}

    def read(self, picks: Sequence[Place]) -> Tensor:
        """Float32 (B, D, g, g) on the CPU."""
        missing = [pick for pick in dict.fromkeys(picks) if pick not in self._held]
        if missing:
            self._held.update(zip(missing, self._source.read(missing), strict=True))
        return torch.stack([self._held[pick] for pick in picks])


class RecentInputs(Recent[EncoderInput]):
    """The images of stored cases; those that were used last stay in memory."""

    def __init__(self, arrays: Arrays, plans: Plans, encoder: Encoder) -> None:
        super().__init__()
        self.arrays, self.plans, self.encoder = arrays, plans, encoder
        self.plan = plans.for_encoder(encoder.spec.id)

    def make(self, name: str) -> tuple[EncoderInput, int]:
        """See `Recent`."""
        case = self.arrays.load(name)
        return EncoderInput(case, self.plans.dataset, self.plan, self.encoder.spec.family), case.image.nbytes


class StoredCaseEmbeddings(EncodedWhenRead):
    """Embeddings of a case in the array store, for where the disk has no room for the cache."""

    def __init__(self, name: str, inputs: RecentInputs) -> None:
        self._name, self._inputs = name, inputs
        depth, rows, columns = inputs.arrays.properties(name).shape
        super().__init__(TileFrame((rows, columns), inputs.plan.tile_shape, inputs.plan.tile_step), depth, inputs.plan,
                         inputs.encoder)

    def input(self) -> EncoderInput:
        """See `EncodedWhenRead`."""
        return self._inputs.get(self._name)


def read_across(sources: Sequence[CaseInputs], picks: Sequence[Place]) -> Tensor:
    """One embedding for each pair of a case and a pick in it, float32 (B, D, g, g).

    What is encoded when it is read is encoded together: cases of one plan and encoder share their batches.
    """
    live = [(source, pick) for source, pick in zip(sources, picks, strict=True) if isinstance(source, EncodedWhenRead)]
    encoded = iter(())
    if live:
        images = torch.cat([source.images([pick]) for source, pick in live])
        encoded = iter(live[0][0].embeddings(images, len(live)))
    return torch.stack([next(encoded) if isinstance(source, EncodedWhenRead) else source.read([pick])[0]
                        for source, pick in zip(sources, picks, strict=True)])


def encode(encoder: Encoder, images: Tensor) -> Tensor:
    """Embeddings float32 (N, 256, g, g) on the CPU of normalised `images` float32 (N, 3, S, S).

    The last batch is filled up with zeros. The sums of a matrix product may be ordered by its shape, so equal shapes
    are what makes an image's embedding the same whatever other images it is encoded with.
    """
    size = images_at_once(encoder, images.shape[-1])
    encoded = []
    with torch.inference_mode():
        for batch in images.split(size):
            missing = size - len(batch)
            full = torch.cat([batch, batch.new_zeros(missing, *batch.shape[1:])]) if missing else batch
            encoded.append(encoder.module(full.to(encoder.device))[: len(batch)].float().cpu())
    return torch.cat(encoded)


def images_at_once(encoder: Encoder, input_size: int) -> int:
    """How many images of `input_size` pixels make a batch of the encoder, on its device."""
    tokens = (input_size // PATCH_SIZE) ** 2
    most = AT_ONCE_ON_GPU if encoder.device.type == "cuda" else AT_ONCE
    return max(1, most * REFERENCE_TOKENS // max(tokens, REFERENCE_TOKENS))


def all_picks(depth: int, frame: TileFrame) -> list[Place]:
    """Every (slice, tile) of a case, in the order in which the cache holds them."""
    return [(int(slice_), int(tile)) for slice_, tile in np.ndindex(depth, len(frame.starts))]
