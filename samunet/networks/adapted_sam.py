"""Adapted encoder and progressive decoder in one network, from image stacks to logits of every slice."""

from __future__ import annotations

from torch import Tensor, nn

from samunet.networks.adapter_3d import AdaptedEncoder
from samunet.networks.progressive_decoder import ProgressiveDecoder


class AdaptedSam(nn.Module):
    """Volumes of images (B, N, n, 3, H, W) -> logits (B, K, N, H, W); the n images of a slice are encoded separately.

    The decoder sees one slice at a time; the n embeddings of a slice are concatenated.
    """

    def __init__(self, encoder: AdaptedEncoder, decoder: ProgressiveDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, stacks: Tensor) -> Tensor:
        """Image volumes (B, N, n, 3, H, W) -> logits (B, K, N, H, W)."""
        embeddings = self.embeddings(stacks)
        logits = self.decoder(embeddings.flatten(0, 1), side_by_side(stacks).flatten(0, 1))
        return logits.unflatten(0, embeddings.shape[:2]).transpose(1, 2)

    def embeddings(self, stacks: Tensor) -> Tensor:
        """Volumes of images -> embeddings (B, N, n * 256, H/16, W/16)."""
        batch, _, alone = stacks.shape[:3]
        embeddings = self.encoder(stacks.transpose(1, 2).flatten(0, 1)).unflatten(0, (batch, alone))
        return embeddings.transpose(1, 2).flatten(2, 3)


def side_by_side(stacks: Tensor) -> Tensor:
    """The n images of each slice as its channels: (B, N, n, 3, H, W) -> (B, N, 3 n, H, W)."""
    return stacks.flatten(2, 3)
