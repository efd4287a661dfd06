"""SAM's image encoder and AutoSAM's head in one network, all trained unless frozen afterwards."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from samunet.networks.autosam_head import AutoSamHead


class EncoderAndHead(nn.Module):
    """Images (B, n, 3, S, S) -> logits (B, K, S/4, S/4); embeddings of a tile's n images are concatenated.

    Arguments:
        encoder: copied, so that the frozen one does not change; to float32, because bfloat16 loses small steps.
    """

    def __init__(self, encoder: nn.Module, head: AutoSamHead) -> None:
        super().__init__()
        self.encoder, self.head = copy.deepcopy(encoder).float().requires_grad_(True), head

    def forward(self, images: Tensor) -> Tensor:
        """Encoder images (B, n, 3, S, S) -> logits (B, K, S/4, S/4)."""
        embeddings = self.encoder(images.flatten(0, 1))
        return self.head(embeddings.reshape(len(images), -1, *embeddings.shape[2:]))
