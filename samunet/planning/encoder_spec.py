"""What planning must know of an encoder, without loading it."""

from __future__ import annotations

from dataclasses import dataclass

PATCH_SIZE = 16
EMBEDDING_CHANNELS = 256
SMALLEST_STEP = 0.01  # of a tile, between neighbours; smaller ones take hours and change nothing
# What every command uses where --encoder is not given.
DEFAULT_ENCODER = "mini"


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder before it is loaded.

    Arguments:
        id: the name that plans, caches and results folders carry (`untrained`, `mini-3`, `pixels`, `vit_b`,
            `<file stem>-<hash8>`; followed by `-<family>` where the family was overridden).
        size: architecture: `mini`, `vit_b`, `vit_l`, `vit_h`, `pixels`, or `vit_<width>x<depth>` for others.
        family: how its input is normalised: `sam`, `medsam` or `mini`.
        native_input_size: side in pixels of the square input that it was trained with.
    """

    id: str
    size: str
    family: str
    native_input_size: int


# The encoders that have names. A file is read only when its encoder is loaded.
NAMED_ENCODERS = {
    "mini": EncoderSpec("mini-3", "mini", "mini", 256),
    "mini-3": EncoderSpec("mini-3", "mini", "mini", 256),
    "untrained": EncoderSpec("untrained", "mini", "mini", 256),
    "pixels": EncoderSpec("pixels", "pixels", "mini", 256),
    "vit_b": EncoderSpec("vit_b", "vit_b", "sam", 1024),
    "vit_l": EncoderSpec("vit_l", "vit_l", "sam", 1024),
    "vit_h": EncoderSpec("vit_h", "vit_h", "sam", 1024),
}
