"""SimCLR: match two augmentations of one image among all other images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from samunet.processes import gathered

PROJECTION = 256
TEMPERATURE = 0.5


class Projected(nn.Module):
    """An encoder's deepest feature map, averaged over the image, through two linear layers to (B, 256).

    After Hu et al., AutoSAM (arXiv 2306.06370), whose SimCLR baseline has no nonlinearity between the layers.

    Arguments:
        encoder: gives a list of feature maps (B, C, ...), the deepest last.
        width: channels of the deepest.
    """

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.projection = nn.Sequential(nn.Linear(width, width), nn.Linear(width, PROJECTION))

    def forward(self, patches: Tensor) -> Tensor:
        """Patches (B, C, ...) -> projections (B, 256)."""
        deepest = self.encoder(patches)[-1]
        return self.projection(deepest.flatten(2).mean(2))


def contrastive_loss(projections: Tensor) -> Tensor:
    """NT-Xent (Chen et al., A Simple Framework for Contrastive Learning, ICML 2020, equation 1), temperature 0.5.

    Arguments:
        projections: (2B, D); entries i and i + B are two augmentations of one image. With several processes each has
            its rows, and gets the loss over all rows.

    Returns:
        Mean cross entropy over all 2B entries of finding the other one among 2B - 1.
    """
    units = normalize(gathered(projections.float()), dim=1)
    similarity = (units @ units.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    pairs = len(units) // 2
    partner = torch.arange(2 * pairs, device=units.device).roll(pairs)
    return cross_entropy(similarity, partner)
