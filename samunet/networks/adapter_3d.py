"""A frozen image encoder whose blocks see neighbouring slices: 3D adapters before attention and before the perceptron.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from samunet.networks.fact import add_fact
from samunet.networks.image_encoder import NORM_EPSILON, resized_positions
from samunet.planning.adapter_memory import adapter_channels


class Adapter3d(nn.Module):
    """Tokens of stacks (B, N, h, w, D) -> the same and what neighbouring slices say of each place.

    M + GELU(Conv3D(Norm(M) W_down)) W_up, the convolution dense, of 3 slices, 1 row and 1 column, with zeros beyond the
    ends. All weights begin as PyTorch draws them, so an adapter says something from the first step on.
    """

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.down = nn.Linear(width, bottleneck, bias=False)
        # The convolution: one product with (slice before, slice, slice after) side by side, which needs no other memory
        # order than the tokens have. PyTorch draws the same start for both.
        self.mix = nn.Linear(3 * bottleneck, bottleneck)
        self.up = nn.Linear(bottleneck, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        low = self.down(self.norm(tokens))
        padded = functional.pad(low, (0, 0, 0, 0, 0, 0, 1, 1))
        beside = torch.cat([padded[:, :-2], low, padded[:, 2:]], -1)
        return tokens + self.up(functional.gelu(self.mix(beside)))


class BlockAdapters(nn.Module):
    """The two adapters of one block of the encoder, which is given anew at each call and keeps its place and names."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.before_attention, self.before_perceptron = Adapter3d(width, bottleneck), Adapter3d(width, bottleneck)

    def forward(self, block: Any, tokens: Tensor) -> Tensor:
        """Tokens (B, N, h, w, D) through adapter, attention, adapter and perceptron; slices attend for themselves."""
        tokens = self.before_attention(tokens)
        tokens = tokens + block.attn(block.norm1(tokens.flatten(0, 1))).unflatten(0, tokens.shape[:2])
        tokens = self.before_perceptron(tokens)
        return tokens + block.mlp(block.norm2(tokens))


class AdaptedEncoder(nn.Module):
    """Volumes (B, N, 3, H, W) -> embeddings (B, N, 256, H/16, W/16) float32; sides are multiples of 16, square or not.

    MA-SAM's encoder (Chen et al., arXiv 2309.08842): FacT on queries and values, two adapters in every block, and
    nothing else is trained. Deviations: an encoder narrower than 768 has adapters of 384 * width / 768 channels, 96 for
    `mini`, where the paper has 384 for every size; pictures need not be square.

    Arguments:
        encoder: copied, so that the frozen one stays what it is; to float32, as small steps are lost in half of it.
        rank, dropped: of FacT.
        checkpointed: whether training keeps the tokens between blocks alone and computes each block once more for its
            gradient, with the same random draws: one more pass forward, for the memory of one block and not of all.

    Raises:
        UserError: an encoder without attention.
    """

    def __init__(self, encoder: nn.Module, rank: int, dropped: float, *, checkpointed: bool) -> None:
        super().__init__()
        plain: Any = copy.deepcopy(encoder).float()
        self.factors = add_fact(plain, rank, dropped)  # of all blocks, under one name of their own
        width = plain.pos_embed.shape[-1]
        self.adapters = nn.ModuleList(BlockAdapters(width, adapter_channels(width)) for _ in plain.blocks)
        self.encoder, self.checkpointed = plain, checkpointed

    def forward(self, stacks: Tensor) -> Tensor:
        tokens = self.encoder.patch_embed(stacks.flatten(0, 1))
        tokens = tokens + resized_positions(self.encoder.pos_embed, (tokens.shape[1], tokens.shape[2]))
        tokens = tokens.unflatten(0, stacks.shape[:2])
        for block, adapters in zip(self.encoder.blocks, self.adapters, strict=True):
            if self.checkpointed and torch.is_grad_enabled():
                tokens = checkpoint(adapters, block, tokens, use_reentrant=False)
            else:
                tokens = adapters(block, tokens)
        embeddings = self.encoder.neck(tokens.flatten(0, 1).permute(0, 3, 1, 2))
        return embeddings.float().contiguous().unflatten(0, stacks.shape[:2])
