"""FacT in SAM's image encoder: low-rank updates of the frozen query and value projections with shared factors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.errors import UserError
from samunet.networks.image_encoder import ImageEncoder


class SharedFactors(nn.Module):
    """The outer factors of every update: U (rank, D), initialised as by PyTorch, and V (D, rank), initially zero."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, rank, bias=False)
        self.up = nn.Linear(rank, width, bias=False)
        nn.init.zeros_(self.up.weight)


class FactProjection(nn.Module):
    """Tokens (..., D) -> queries, keys and values (..., 3 D): W x + b, plus updates V S U x of queries and values.

    `weight` and `bias` are the projection's own tensors and have SAM's names; `query` and `value` are this block's
    S (rank, rank). A zero token has no update, so the blank keys of windows over the edge are still the bias, as
    `networks.attention` assumes. In training S U x is dropped out; in evaluation the updates are merged into the
    weight, which takes one product of D x rank x D a block instead of three for every token.

    Arguments:
        projection: SAM's.
        factors: U and V.
        dropped: share of S U x that is set to 0 in training.
    """

    def __init__(self, projection: nn.Linear, factors: SharedFactors, dropped: float) -> None:
        super().__init__()
        rank = factors.down.out_features
        self.weight, self.bias = projection.weight, projection.bias
        self.factors = factors
        self.query, self.value = nn.Linear(rank, rank, bias=False), nn.Linear(rank, rank, bias=False)
        self.dropout = nn.Dropout(dropped)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) -> (..., 3 D)."""
        if not self.training:
            return functional.linear(tokens, self.merged_weight(), self.bias)
        return self.unmerged(tokens)

    def unmerged(self, tokens: Tensor) -> Tensor:
        """The same, with updates computed for every token."""
        query, key, value = functional.linear(tokens, self.weight, self.bias).chunk(3, -1)
        low = self.factors.down(tokens)
        query = query + self.factors.up(self.dropout(self.query(low)))
        value = value + self.factors.up(self.dropout(self.value(low)))
        return torch.cat([query, key, value], -1)

    def merged_weight(self) -> Tensor:
        """W + (V S_q U | 0 | V S_v U), float (3 D, D); W itself does not change."""
        query, key, value = self.weight.chunk(3)
        up, down = self.factors.up.weight, self.factors.down.weight
        return torch.cat([query + up @ self.query.weight @ down, key, value + up @ self.value.weight @ down])


def add_fact(encoder: nn.Module, rank: int, dropped: float) -> SharedFactors:
    """Freeze `encoder`, in place, and add trainable updates to each of its blocks. Its output does not change yet.

    Factor-tuning (Jie and Deng, arXiv 2212.03145), tensor-train form, as MA-SAM has it (Chen et al., arXiv 2309.08842):
    on queries and values of every block, one U and one V for all of them, the scale being 1.

    Returns:
        U and V, which are part of every block.

    Raises:
        UserError: an encoder without attention.
    """
    if not isinstance(encoder, ImageEncoder):
        raise UserError("FacT needs an encoder with attention.", where="--encoder",
                        found=type(encoder).__name__,
                        mend="Name a SAM encoder, or choose a variant on cached embeddings.")
    encoder.requires_grad_(False)
    factors = SharedFactors(encoder.pos_embed.shape[-1], rank)
    for block in encoder.blocks:
        attention: Any = block.attn
        attention.qkv = FactProjection(attention.qkv, factors, dropped)
    return factors
