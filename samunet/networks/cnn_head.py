"""AutoSAM's CNN head: a column of 3x3 convolutions that ends at four times the embedding's resolution."""

from __future__ import annotations

from torch import nn

TOP_WIDTH = 64


def build_cnn_head(embedding_channels: int, classes: int, depth: int) -> nn.Sequential:
    """Embeddings (B, D, g, g) -> logits (B, K, 4g, 4g).

    After Hu et al., AutoSAM (arXiv 2306.06370), the CNN prediction head, with the widths of the authors' code: two 1x1
    convolutions to 64 * 2^depth channels, `depth` blocks that halve the width, of which the last two double the
    resolution, then 3x3 and 1x1. No normalisation and no skips, as published. Difference: weights start with He's
    variance (He et al. 2015, section 2.2); with PyTorch's default the signal shrinks at each of the unnormalised layers
    and the first hundreds of iterations learn nothing.

    Arguments:
        depth: 4 is the published form (20.7 M parameters), 2 the small one (1.8 M), both at D = 256.
    """
    width = TOP_WIDTH * 2**depth
    layers: list[nn.Module] = [nn.Conv2d(embedding_channels, width, 1), nn.ReLU(), nn.Conv2d(width, width, 1),
                               nn.ReLU()]
    for block in range(depth):
        doubles = block >= depth - 2
        half = width // 2
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        layers += [nn.Conv2d(width, width if doubles else half, 3, padding=1), nn.ReLU()]
        if doubles:
            layers.append(nn.ConvTranspose2d(width, half, kernel_size=2, stride=2))
        width = half
    layers += [nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, classes, 1)]
    head = nn.Sequential(*layers)
    head.apply(_start_as_he)
    return head


def _start_as_he(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        # A transposed convolution of kernel 2 and stride 2 writes each output once: its fan-in is the input channels.
        taps = module.kernel_size[0] ** 2 if isinstance(module, nn.Conv2d) else 1
        nn.init.normal_(module.weight, std=(2 / (module.in_channels * taps)) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
