"""Low-rank adaptation of SAM's image encoder: trained increments of the frozen projections to queries and values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.errors import UserError
from samunet.networks.image_encoder import ImageEncoder


class Increment(nn.Module):
    """B A x of tokens (..., D), with A (rank, D) drawn by Kaiming's rule for a = sqrt(5) and B (D, rank) zero at the
    start.
    """

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)  # PyTorch's own start is that rule
        self.up = nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.up(self.down(tokens))


class IncrementedProjection(nn.Module):
    """Tokens (..., D) -> queries, keys and values (..., 3 D): W x + b, with increments of queries and values, none of
    keys.

    `weight` and `bias` are the projection's own tensors and keep SAM's names. A zero token has no increment, so the
    blank keys of windows over the edge stay the bias, as `networks.attention` takes them.
    """

    def __init__(self, projection: nn.Linear, rank: int) -> None:
        super().__init__()
        self.weight, self.bias = projection.weight, projection.bias
        self.query, self.value = Increment(projection.in_features, rank), Increment(projection.in_features, rank)

    def forward(self, tokens: Tensor) -> Tensor:
        query, key, value = functional.linear(tokens, self.weight, self.bias).chunk(3, -1)
        return torch.cat([query + self.query(tokens), key, value + self.value(tokens)], -1)


def add_increments(encoder: nn.Module, rank: int) -> None:
    """Freeze `encoder`, in place, and give each of its blocks increments, which alone are trained. Its output stays as
    it is.

    LoRA (Hu et al., arXiv 2106.09685) as SAMed has it (Zhang and Liu, arXiv 2304.13785): on queries and values of every
    block, not scaled. Increments stand beside the weights and are never added to them, so what is frozen stays bit for
    bit, and no gradient as large as a weight is computed.

    Raises:
        UserError: an encoder without attention.
    """
    if not isinstance(encoder, ImageEncoder):
        raise UserError("Low-rank increments need an encoder with attention.", where="--encoder",
                        found=type(encoder).__name__,
                        mend="Name a SAM encoder, or choose a variant on cached embeddings.")
    encoder.requires_grad_(False)
    for block in encoder.blocks:
        attention: Any = block.attn
        attention.qkv = IncrementedProjection(attention.qkv, rank)
