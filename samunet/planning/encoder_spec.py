"""What planning must know of an encoder, without loading it."""

from __future__ import annotations

from dataclasses import dataclass

PATCH_SIZE = 16
EMBEDDING_CHANNELS = 256


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder before it is loaded.

    Arguments:
        id: the name that plans, caches and results folders carry (`untrained`, `mini-1`, `vit_b`, `<file stem>-<hash8>`).
        size: architecture, one of `mini`, `vit_b`, `vit_l`, `vit_h`.
        family: how its input was normalised in training: `sam`, `medsam` or `mini`.
        native_input_size: side in pixels of the square input that it was trained with.
    """

    id: str
    size: str
    family: str
    native_input_size: int
