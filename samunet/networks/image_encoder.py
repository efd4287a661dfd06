"""Segment Anything's image encoder, written for speed, with its architecture, parameter names and initial values.

A plain vision transformer with windowed and global attention and decomposed relative positions (ViTDet, arXiv
2203.16527; Segment Anything, arXiv 2304.02643, appendix A).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.networks.attention import Attention

NORM_EPSILON = 1e-6
MLP_RATIO = 4
# that a CPU passes through all blocks at once, so that a small encoder's activations fit into its caches
TOKENS_AT_ONCE = 1024


class ImageEncoder(nn.Module):
    """Images (B, 3, H, W) -> embeddings (B, out_channels, H / patch, W / patch) float32.

    For images of another size than `input_size` the positions are interpolated: absolute ones bilinearly, tables of
    relative ones linearly. Sides must be multiples of `patch`. An oblong image has the positions of a square one's
    upper left part, as in Segment Anything, whose zero padding is not computed here.

    Arguments:
        input_size: side in pixels of the images that the positions fit.
        patch: side of a token in pixels.
        width, depth, heads: channels of a token, blocks, heads of each block.
        window: side in tokens of the windows of blocks that are not in `global_blocks`; 0: all blocks attend globally.
        out_channels: channels of an embedding.
    """

    def __init__(
        self, input_size: int, patch: int, width: int, depth: int, heads: int, window: int,
        global_blocks: tuple[int, ...], out_channels: int,
    ) -> None:
        super().__init__()
        grid = (input_size // patch, input_size // patch)
        self.patch_embed = PatchEmbedding(patch, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, *grid, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, 0 if index in global_blocks else window, grid) for index in range(depth)
        )
        self.neck = nn.Sequential(
            Convolution(width, out_channels, 1, bias=False),
            ChannelNorm(out_channels),
            Convolution(out_channels, out_channels, 3, padding=1, bias=False),
            ChannelNorm(out_channels),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images (B, 3, H, W) -> embeddings float32 (B, out_channels, H / patch, W / patch)."""
        if torch.is_grad_enabled() or images.is_cuda:
            return self._encode(images)
        few = max(1, TOKENS_AT_ONCE * self.patch_embed.proj.weight[0, 0].numel() // images[0, 0].numel())
        return torch.cat([self._encode(part) for part in images.split(few)])

    def _encode(self, images: Tensor) -> Tensor:
        tokens = self.patch_embed(images)
        tokens = tokens + resized_positions(self.pos_embed, (tokens.shape[1], tokens.shape[2]))
        for block in self.blocks:
            tokens = block(tokens)
        return self.neck(tokens.permute(0, 3, 1, 2)).float().contiguous()

    def compute_in(self, dtype: torch.dtype) -> ImageEncoder:
        """Cast the weights of matrix products to `dtype`, in place; norms, positions and residual sums stay float32."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.to(dtype)
        return self


class PatchEmbedding(nn.Module):
    """Images (B, 3, H, W) -> one token for each patch, (B, H / patch, W / patch, D)."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> tokens (B, H / patch, W / patch, D) float32."""
        weight, bias = self.proj.weight, self.proj.bias
        # Patches do not overlap, so the convolution is one matrix product of (patches, 3 * patch * patch).
        side = weight.shape[-1]
        patches = images.to(weight.dtype).unflatten(3, (-1, side)).unflatten(2, (-1, side)).permute(0, 2, 4, 1, 3, 5)
        return functional.linear(patches.flatten(3), weight.flatten(1), bias)


class Block(nn.Module):
    """Attention, then a two-layer perceptron, each after a layer norm and added to the tokens (B, H, W, D)."""

    def __init__(self, width: int, heads: int, window: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.attn = Attention(width, heads, window, grid)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPSILON)
        self.mlp = Perceptron(width, MLP_RATIO * width)
        self.window_size = window

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, D) -> (B, H, W, D) float32."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class Perceptron(nn.Module):
    """Two linear layers with exact GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(..., D) -> (..., D)."""
        return self.lin2(functional.gelu(self.lin1(tokens.to(self.lin1.weight.dtype))))


class Convolution(nn.Conv2d):
    """A convolution that accepts maps of any number type."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out, H', W') in the number type of the weights."""
        return super().forward(maps.to(self.weight.dtype))


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (B, C, H, W), in the memory order that (B, H, W, C) has."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        normed = functional.layer_norm(
            maps.permute(0, 2, 3, 1).float(), self.weight.shape, self.weight, self.bias, NORM_EPSILON)
        return normed.permute(0, 3, 1, 2)


def resized_positions(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Absolute positions (1, S, S, D), interpolated bilinearly without aligned corners to the longer side of `grid`."""
    rows, columns = grid
    side = max(grid)
    if positions.shape[1] != side:
        channels_first = positions.permute(0, 3, 1, 2)
        positions = functional.interpolate(channels_first, (side, side), mode="bilinear",
                                           align_corners=False).permute(0, 2, 3, 1)
    return positions[:, :rows, :columns]


def fast_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where `device` multiplies its matrices in hardware, else float32."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float32
    # An older torch does not report it; oneDNN also answers yes for processors that only emulate bfloat16.
    able: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32
