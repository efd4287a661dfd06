"""SAM's image encoder and AutoSAM's head in one network, all of it trained where nothing is frozen afterwards."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from samunet.networks.autosam_head import AutoSamHead


class EncoderAndHead(nn.Module):
    """Pictures (B, n, 3, S, S) -> logits (B, K, S/4, S/4); embeddings of a tile's n pictures stand side by side.

    Arguments:
        encoder: copied, so that the frozen one stays what it is; to float32, as small steps are lost in half of it.
    """

    def __init__(self, encoder: nn.Module, head: AutoSamHead) -> None:
        super().__init__()
        self.encoder, self.head = copy.deepcopy(encoder).float().requires_grad_(True), head

    def forward(self, pictures: Tensor) -> Tensor:
        embeddings = self.encoder(pictures.flatten(0, 1))
        return self.head(embeddings.reshape(len(pictures), -1, *embeddings.shape[2:]))
