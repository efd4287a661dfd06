"""Attention within windows of a 3D map, shifted by half a window in every second block, as in Swin Transformers.

Liu et al., arXiv 2103.14030; in 3D and with the coarser map as the query in nnFormer, arXiv 2109.03201.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Axes = tuple[int, int, int]
FORBIDDEN = -100.0  # added to the logit of a pair of tokens that must not see each other


class WindowAttention3d(nn.Module):
    """Attention in windows, with a learned bias for each offset between two tokens.

    Arguments:
        width, heads: channels, and heads that share them.
        window: tokens (z, y, x). shift: by which windows are moved; 0 where an axis is one window.
        queried: whether another map gives the queries, as they are; keys and values alone are projected then.
    """

    def __init__(self, width: int, heads: int, window: Axes, shift: Axes, *, queried: bool = False) -> None:
        super().__init__()
        self.heads, self.window, self.shift = heads, window, shift
        self.projection = nn.Linear(width, (2 if queried else 3) * width)
        self.out = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.empty(math.prod(2 * side - 1 for side in window), heads))
        nn.init.trunc_normal_(self.bias, std=0.02)

    def forward(self, shown: Tensor, query: Tensor | None = None) -> Tensor:
        """Maps (B, z, y, x, width) -> the same. `query` is given where the class was built as `queried`."""
        shape = shown.shape[1:4]
        parts = self.projection(self._windows(shown)).chunk(3 if query is None else 2, -1)
        first = parts[0] if query is None else self._windows(query)
        queries, keys, values = (each.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
                                 for each in (first, *parts[-2:]))
        seen = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=self._mask(shape, shown.device))
        return self._map(self.out(seen.transpose(-3, -2).flatten(-2)), shape)

    def _windows(self, shown: Tensor) -> Tensor:
        """Maps (B, z, y, x, width) -> (B, windows, tokens, width), zeros behind the ends."""
        missing = [(-side) % part for side, part in zip(shown.shape[1:4], self.window, strict=True)]
        padded = functional.pad(shown, [0, 0, *(part for each in reversed(missing) for part in (0, each))])
        moved = padded.roll([-each for each in self.shift], (1, 2, 3))
        for axis, side in enumerate(self.window):
            moved = moved.unflatten(1 + 2 * axis, (-1, side))
        return moved.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6).flatten(1, 3)

    def _map(self, windows: Tensor, shape: Sequence[int]) -> Tensor:
        """The inverse of `_windows`."""
        counts = [math.ceil(side / part) for side, part in zip(shape, self.window, strict=True)]
        split = windows.unflatten(1, counts).unflatten(4, self.window).permute(0, 1, 4, 2, 5, 3, 6, 7)
        padded = split.flatten(5, 6).flatten(3, 4).flatten(1, 2)
        z, y, x = shape
        return padded.roll(self.shift, (1, 2, 3))[:, :z, :y, :x]

    def _mask(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """What is added to the attention's logits, (1, windows or 1, heads, tokens, tokens).

        Tokens that a shift brought from the other end, and those behind the end, are seen by their like alone.
        """
        bias = self.bias[offsets(self.window, device)].permute(2, 0, 1)[None, None]
        regions = self._windows(self._regions(shape, device)[None, ..., None])[..., 0]
        if int(regions.max()) == int(regions.min()):
            return bias
        return bias + FORBIDDEN * (regions[:, :, None, :, None] != regions[:, :, None, None, :])

    def _regions(self, shape: Sequence[int], device: torch.device) -> Tensor:
        """1 and more for each voxel of a map, by which side of a shift it comes from; what is padded has 0.

        Voxels before `shift` are moved behind the others, into the last window along that axis.
        """
        z, y, x = (torch.arange(side, device=device) < moved for side, moved in zip(shape, self.shift, strict=True))
        return (1 + 4 * z[:, None, None] + 2 * y[None, :, None] + x.long()[None, None, :]).float()


def offsets(window: Axes, device: torch.device | None = None) -> Tensor:
    """The number, int64 (tokens, tokens), of the offset between each two tokens of a window."""
    axes = [torch.arange(side, device=device) for side in window]
    tokens = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, 2)
    z, y, x = (tokens[:, None] - tokens[None]).add(torch.tensor(window, device=device) - 1).unbind(-1)
    return (z * (2 * window[1] - 1) + y) * (2 * window[2] - 1) + x
