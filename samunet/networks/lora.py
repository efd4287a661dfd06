"""Low-rank adaptation of SAM's image encoder: trained updates of the frozen query and value projections."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.errors import UserError
from samunet.networks.image_encoder import ImageEncoder


class LowRankUpdate(nn.Module):
    """B A x of tokens (..., D), A (rank, D) initialised by Kaiming's rule for a = sqrt(5), B (D, rank) by zeros."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)  # PyTorch's default is that rule
        self.up = nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.up(self.down(tokens))


class LoraProjection(nn.Module):
    """Tokens (..., D) -> queries, keys and values (..., 3 D): W x + b, plus updates of queries and values, not of keys.

    `weight` and `bias` are the projection's own tensors and have SAM's names. A zero token has no update, so the
    blank keys of windows over the edge are still the bias, as `networks.attention` assumes.
    """

    def __init__(self, projection: nn.Linear, rank: int) -> None:
        super().__init__()
        self.weight, self.bias = projection.weight, projection.bias
        width = projection.in_features
        self.query, self.value = LowRankUpdate(width, rank), LowRankUpdate(width, rank)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) -> (..., 3 D)."""
        query, key, value = functional.linear(tokens, self.weight, self.bias).chunk(3, -1)
        return torch.cat([query + self.query(tokens), key, value + self.value(tokens)], -1)


def add_lora(encoder: nn.Module, rank: int) -> None:
    """Freeze `encoder`, in place, and add trainable updates to each of its blocks. Its output does not change yet.

    LoRA (Hu et al., arXiv 2106.09685) as SAMed has it (Zhang and Liu, arXiv 2304.13785): on queries and values of every
    block, not scaled. Updates are stored separately and never added to the weights, so the frozen weights stay the same
    bits, and no gradient as large as a weight is computed.

    Raises:
        UserError: an encoder without attention.
    """
    if not isinstance(encoder, ImageEncoder):
        raise UserError("LoRA needs an encoder with attention.", where="--encoder",
                        found=type(encoder).__name__,
                        mend="Name a SAM encoder, or choose a variant on cached embeddings.")
    encoder.requires_grad_(False)
    for block in encoder.blocks:
        attention: Any = block.attn
        attention.qkv = LoraProjection(attention.qkv, rank)
