"""The `pixels` encoder: no network, the picture's own values in the form of an embedding; what an encoder must beat."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad, pixel_unshuffle

from samunet.planning.encoder_spec import EMBEDDING_CHANNELS, PATCH_SIZE

# Raised when this file starts to give other values.
VERSION = 1
POOLING = 2
BLOCK = PATCH_SIZE // POOLING


class Pixels(nn.Module):
    """The means of 2 x 2 pixels of a token's 16 x 16 patch, side by side in the channels of an embedding.

    Channel 64 * c + 8 * row + column holds colour c of the mean at (row, column) of the patch; 192 channels are used,
    the others are 0. There is nothing to train or to load.
    """

    place: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Says on which device the module stands, since it has no parameters.
        self.register_buffer("place", torch.zeros(0), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 256, S/16, S/16)."""
        values = pixel_unshuffle(avg_pool2d(pictures, POOLING), BLOCK)
        return pad(values, (0, 0, 0, 0, 0, EMBEDDING_CHANNELS - values.shape[1]))


def pixels_digest() -> str:
    """What stands for the SHA-256 of the weights that there are not."""
    return hashlib.sha256(f"samunet pixels encoder, version {VERSION}".encode()).hexdigest()
