"""A frozen image encoder whose blocks see neighbouring slices: 3D adapters before attention and perceptron."""

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
    """Tokens of stacks (B, N, h, w, D) -> the tokens plus features of neighbouring slices at the same position.

    M + GELU(Conv3D(Norm(M) W_down)) W_up, the convolution dense, of 3 slices, 1 row and 1 column, with zeros beyond the
    ends. All weights have PyTorch's initial values, so an adapter contributes from the first step on.
    """

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.down = nn.Linear(width, bottleneck, bias=False)
        # The convolution is one product with the concatenated (slice before, slice, slice after), which needs no other
        # memory order than that of the tokens. PyTorch initialises both alike.
        self.mix = nn.Linear(3 * bottleneck, bottleneck)
        self.up = nn.Linear(bottleneck, width, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, h, w, D) -> (B, N, h, w, D)."""
        low = self.down(self.norm(tokens))
        padded = functional.pad(low, (0, 0, 0, 0, 0, 0, 1, 1))
        beside = torch.cat([padded[:, :-2], low, padded[:, 2:]], -1)
        return tokens + self.up(functional.gelu(self.mix(beside)))


class BlockAdapters(nn.Module):
    """The two adapters of one encoder block. The block is passed at each call, so it keeps its place and names."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.before_attention, self.before_perceptron = Adapter3d(width, bottleneck), Adapter3d(width, bottleneck)

    def forward(self, block: Any, tokens: Tensor) -> Tensor:
        """Tokens (B, N, h, w, D) through adapter, attention, adapter and perceptron; attention is within a slice."""
        tokens = self.before_attention(tokens)
        tokens = tokens + block.attn(block.norm1(tokens.flatten(0, 1))).unflatten(0, tokens.shape[:2])
        tokens = self.before_perceptron(tokens)
        return tokens + block.mlp(block.norm2(tokens))


class AdaptedEncoder(nn.Module):
    """Volumes (B, N, 3, H, W) -> embeddings (B, N, 256, H/16, W/16) float32; sides are multiples of 16, square or not.

    MA-SAM's encoder (Chen et al., arXiv 2309.08842): FacT on queries and values, two adapters in every block; nothing
    else is trained. Differences: an encoder narrower than 768 has adapters of 384 * width / 768 channels, 96 for
    `mini`, where the paper has 384 for every size; images may be oblong.

    Arguments:
        encoder: copied, so that the frozen one does not change; to float32, because bfloat16 loses small steps.
        rank, dropped: of FacT.
        checkpointed: whether training stores only the tokens between blocks and recomputes each block for its gradient,
            with the same random numbers: one more forward pass, but the memory of a single block.

    Raises:
        UserError: an encoder without attention.
    """

    def __init__(self, encoder: nn.Module, rank: int, dropped: float, *, checkpointed: bool) -> None:
        super().__init__()
        plain: Any = copy.deepcopy(encoder).float()
        self.factors = add_fact(plain, rank, dropped)  # shared by all blocks
        width = plain.pos_embed.shape[-1]
        self.adapters = nn.ModuleList(BlockAdapters(width, adapter_channels(width)) for _ in plain.blocks)
        self.encoder, self.checkpointed = plain, checkpointed

    def forward(self, stacks: Tensor) -> Tensor:
        """Image volumes (B, N, 3, H, W) -> embeddings float32 (B, N, 256, H/16, W/16)."""
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
