"""The `pixels` encoder: no network, the image's own values in the form of an embedding; a baseline for encoders."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad, pixel_unshuffle

from samunet.planning.encoder_spec import EMBEDDING_CHANNELS, PATCH_SIZE

# Increased when the values of this file change.
VERSION = 1
POOLING = 2
BLOCK = PATCH_SIZE // POOLING


class Pixels(nn.Module):
    """The means of 2 x 2 pixels of a token's 16 x 16 patch, as channels of an embedding.

    Channel 64 * c + 8 * row + column holds colour c of the mean at (row, column) of the patch; 192 channels are used,
    the others are 0. There is nothing to train or to load.
    """

    place: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Marks the module's device, since it has no parameters.
        self.register_buffer("place", torch.zeros(0), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, 256, S/16, S/16)."""
        values = pixel_unshuffle(avg_pool2d(images, POOLING), BLOCK)
        return pad(values, (0, 0, 0, 0, 0, EMBEDDING_CHANNELS - values.shape[1]))


def pixels_digest() -> str:
    """SHA-256 of a version text, in place of the weights' digest, since there are no weights."""
    return hashlib.sha256(f"samunet pixels encoder, version {VERSION}".encode()).hexdigest()
