"""Channels of the trained parts of `3d_promptable`: the published ones at width 768, fewer for narrower encoders."""

from __future__ import annotations

from dataclasses import dataclass

from samunet.planning.adapter_memory import PUBLISHED_WIDTH, adapter_channels

LEVEL = 256  # channels of a level in the published form
HEADS = 8  # of the prompts' attention: both its widths must be multiples


@dataclass(frozen=True)
class VolumetricChannels:
    """Channels for an encoder of `width` channels, all scaled together: 96, 64, 512, 32, 8 for `mini` (width 192).

    `adapter`: of a block's adapter (published: 384). `level`: of the four levels (256). `perceptron`: hidden ones of
    the visual sampler's MLP (2048). `decoder`: of the decoder at half the token's side (128). `fine`: of its finest
    stage, at the voxels' resolution (16; not in the publication).
    """

    adapter: int
    level: int
    perceptron: int
    decoder: int
    fine: int

    @classmethod
    def of(cls, width: int) -> VolumetricChannels:
        """The channels for an encoder of `width` channels; a level has a multiple of 16, at least 16."""
        multiple = 2 * HEADS
        level = min(LEVEL, max(multiple, LEVEL * width // PUBLISHED_WIDTH // multiple * multiple))
        return cls(adapter_channels(width), level, 8 * level, level // 2, max(8, level // 16))
