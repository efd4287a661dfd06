"""AutoSAM's linear head: SAM-style upscaling, then two 1x1 convolutions."""

from __future__ import annotations

from torch import nn

from samunet.networks.sam_modules import LayerNorm2d


def build_linear_head(embedding_channels: int, classes: int) -> nn.Sequential:
    """Embeddings (B, D, g, g) -> logits (B, K, 4g, 4g); about 75 thousand parameters at D = 256.

    After Hu et al., AutoSAM (arXiv 2306.06370), the linear prediction head: 256 -> 64 -> 32 by transposed convolutions
    with LayerNorm2d and GELU, 1x1 32 -> 32, ReLU, 1x1 32 -> K. Difference: the authors' code ends in a ReLU on the
    logits, which is left out.
    """
    return nn.Sequential(
        nn.ConvTranspose2d(embedding_channels, 64, kernel_size=2, stride=2),
        LayerNorm2d(64),
        nn.GELU(),
        nn.ConvTranspose2d(64, 32, kernel_size=2, stride=2),
        nn.GELU(),
        nn.Conv2d(32, 32, kernel_size=1),
        nn.ReLU(),
        nn.Conv2d(32, classes, kernel_size=1),
    )
