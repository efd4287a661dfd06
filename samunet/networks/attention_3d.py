"""Segment Anything's attention in windows of a volume, with relative positions along all three axes.

A query adds to its score of a key three terms, q . T_d[its slice - the key's], and the same for rows and columns
(3DSAM-adapter, arXiv 2306.13465, section 3.2; Segment Anything has the latter two). Windows are shifted by half a
window in every other block (Swin, arXiv 2103.14030, section 3.2). Which keys a query sees is then decided axis by axis,
as the terms are, so masks are a part of the terms, and no array of queries times keys is built for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from samunet.networks.attention import LANES, Attention, relative_positions

WINDOW = 8  # tokens along each axis
HIDDEN = -1e4  # score of a key that a query does not see: its weight is exactly 0, also in bfloat16


@dataclass(frozen=True)
class AxisWindows:
    """How an axis of `length` tokens is cut into `count` windows of `side` tokens, after a shift of `shift` tokens.

    Windows are as long as possible, at most WINDOW, and of equal length: 8 wherever 8 divides the length, 6 for 12
    tokens, 5 for 9. The last one may hang over the end, by less than a token for each window.
    """

    length: int
    side: int
    count: int
    shift: int

    @classmethod
    def of(cls, length: int, *, shifted: bool) -> AxisWindows:
        """Windows of an axis of `length` tokens. An axis of one window is never shifted."""
        count = -(-length // WINDOW)
        side = -(-length // count)
        return cls(length, side, count, side // 2 if shifted and count > 1 else 0)

    @property
    def padding(self) -> int:
        """Blank tokens at the end of the axis."""
        return self.count * self.side - self.length

    def mask(self, device: torch.device) -> Tensor | None:
        """0 or HIDDEN for each query and key of every window, float32 (count, side, side); None: all see each other.

        Hidden are blank keys and, in the window that the shift wraps around the end, keys from the other end.
        """
        if not self.padding and not self.shift:
            return None
        places = torch.arange(self.count * self.side, device=device) + self.shift
        wrapped = places >= self.count * self.side
        blank = places.remainder(self.count * self.side) >= self.length
        wrapped, blank = wrapped.view(self.count, self.side), blank.view(self.count, self.side)
        hidden = (wrapped[:, :, None] != wrapped[:, None, :]) | blank[:, None, :]
        return hidden * HIDDEN


class WindowAttention3d(nn.Module):
    """Attention of a 2D encoder's block on volumes of tokens, (B, d, h, w, D) -> (B, d, h, w, D).

    The projections and both tables are those of `attention`, whether it has windows or not; the table of depth is a
    new parameter of their length, whose initial value is their mean. Tables are interpolated to the 15 differences of
    places within 8 tokens. Differences from the publication: grids of any size (its mask fits 32 x 32 x 32 tokens
    only), windows of less than 8 tokens where 8 does not divide the grid (`AxisWindows`), and batches.

    Arguments:
        attention: of a block; its parameters are shared, not copied.
        shifted: whether windows are shifted by half their side.
    """

    def __init__(self, attention: Attention, *, shifted: bool) -> None:
        super().__init__()
        self.heads, self.shifted = attention.heads, shifted
        self.qkv, self.proj = attention.qkv, attention.proj
        self.rel_pos_h, self.rel_pos_w = attention.rel_pos_h, attention.rel_pos_w
        self.rel_pos_d = nn.Parameter((attention.rel_pos_h.detach() + attention.rel_pos_w.detach()) / 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, d, h, w, D) -> (B, d, h, w, D), in the number type of the weights, or autocast's where that is on."""
        axes = [AxisWindows.of(length, shifted=self.shifted) for length in tokens.shape[1:4]]
        # Queries, keys and values, each (B, windows of d, h, w, heads, tokens of d, h, w, channels).
        parts = _windows(self.qkv(tokens), axes, self.heads)
        terms = self._terms(parts[0], axes).flatten(5, 7).flatten(0, 3)
        query, key, value = parts.flatten(6, 8).flatten(1, 4).unbind()
        mixed = attend(query, key, value, terms, [axis.side for axis in axes])
        return self.proj(_volume(mixed.view(parts.shape[1:]), axes))

    def _terms(self, query: Tensor, axes: list[AxisWindows]) -> Tensor:
        """Positional terms and masks of each slice, row and column of a window: (..., side d + side h + side w)."""
        letters, terms = "xyz", []
        for number, (axis, table) in enumerate(zip(axes, (self.rel_pos_d, self.rel_pos_h, self.rel_pos_w),
                                                   strict=True)):
            # A smaller window takes the middle of the table: a step means the same in windows of all sizes.
            entries = relative_positions(table, WINDOW)[: axis.side, :, : axis.side].to(query.dtype)
            term = torch.einsum(f"bijkaxyzc,{letters[number]}cl->bijkaxyzl", query, entries)
            mask = axis.mask(query.device)
            if mask is not None:
                shape = [1] * 7
                shape[number], shape[4 + number] = axis.count, axis.side
                term = term + mask.to(term.dtype).view(*shape, axis.side)
            terms.append(term)
        return torch.cat(terms, -1)


def attend(query: Tensor, key: Tensor, value: Tensor, terms: Tensor, sides: list[int]) -> Tensor:
    """softmax(q . k / sqrt(d) + terms of the key's slice, row and column) v.

    The terms are further channels of the queries, which the keys select with ones, so no array of queries times keys
    is stored, for the gradient neither.

    Arguments:
        query, key, value: (N, heads, slices * rows * columns, d).
        terms: (N, heads, queries, slices + rows + columns).
        sides: slices, rows and columns of a window.

    Returns:
        (N, heads, queries, d).
    """
    width = query.shape[-1]
    extra = -(width + terms.shape[-1]) % LANES
    places = torch.cartesian_prod(*(torch.arange(side, device=key.device) for side in sides))
    picks = torch.cat([functional.one_hot(places[:, axis], side) for axis, side in enumerate(sides)], 1)
    picks = functional.pad(picks, (0, extra)).to(key.dtype)
    query = torch.cat([query * width**-0.5, functional.pad(terms, (0, extra))], -1)
    key = torch.cat([key, picks.expand(*key.shape[:2], -1, -1)], -1)
    wide = functional.pad(value, (0, query.shape[-1] - width))  # kernels need one width for all three
    return functional.scaled_dot_product_attention(query, key, wide, scale=1.0)[..., :width]


def _windows(qkv: Tensor, axes: list[AxisWindows], heads: int) -> Tensor:
    """(B, d, h, w, 3 D) -> (3, B, windows of d, h, w, heads, tokens of d, h, w, channels)."""
    padding = [side for axis in reversed(axes) for side in (0, axis.padding)]
    if any(padding):
        qkv = functional.pad(qkv, (0, 0, *padding))
    if any(axis.shift for axis in axes):
        qkv = qkv.roll([-axis.shift for axis in axes], (1, 2, 3))
    cut = [size for axis in axes for size in (axis.count, axis.side)]
    return qkv.reshape(len(qkv), *cut, 3, heads, -1).permute(7, 0, 1, 3, 5, 8, 2, 4, 6, 9)


def _volume(parts: Tensor, axes: list[AxisWindows]) -> Tensor:
    """(B, windows of d, h, w, heads, tokens of d, h, w, channels) -> (B, d, h, w, D)."""
    whole = [axis.count * axis.side for axis in axes]
    joined = parts.permute(0, 1, 5, 2, 6, 3, 7, 4, 8).reshape(len(parts), *whole, -1)
    if any(axis.shift for axis in axes):
        joined = joined.roll([axis.shift for axis in axes], (1, 2, 3))
    depth, rows, columns = (axis.length for axis in axes)
    return joined[:, :depth, :rows, :columns]
