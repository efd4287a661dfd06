"""Segment Anything's attention in windows of a volume, with relative positions along all three axes.

A query adds to its score of a key three terms, q . T_d[its slice - the key's], and the same for rows and columns
(3DSAM-adapter, arXiv 2306.13465, section 3.2; Segment Anything has the latter two). Windows are shifted by half a
window in every other block (Swin, arXiv 2103.14030, section 3.2). Which keys a query sees is then decided axis by axis,
as the terms are, so masks are a part of the terms, and no array of queries times keys is built for them.
"""

from __future__ import annotations

import math
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

    def places(self, device: torch.device) -> Tensor:
        """Which token of the axis is at each place of each window, int64 (count, side); `length` or more: blank."""
        places = torch.arange(self.count * self.side, device=device) + self.shift
        return places.remainder(self.count * self.side).view(self.count, self.side)

    def mask(self, device: torch.device) -> Tensor | None:
        """0 or HIDDEN for each query and key of every window, float32 (count, side, side); None: all see each other.

        Hidden are blank keys and, in the window that the shift wraps around the end, keys from the other end.
        """
        if self.count * self.side == self.length and not self.shift:
            return None
        places = self.places(device)
        wrapped = places < places[:, :1]
        hidden = (wrapped[:, :, None] != wrapped[:, None, :]) | (places >= self.length)[:, None, :]
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
        counts, sides = [axis.count for axis in axes], [axis.side for axis in axes]
        order, back = _window_order(axes, tokens.device)
        # Blank tokens are any others; no query sees them.
        qkv = self.qkv(tokens.flatten(1, 3).index_select(1, order.flatten()))
        parts = qkv.view(len(tokens), *order.shape, 3, self.heads, -1).permute(3, 0, 1, 4, 2, 5)
        query, key, value = parts.flatten(1, 2).unbind()  # each (B * windows, heads, tokens, channels)
        terms = self._terms(query.view(len(tokens), *counts, self.heads, *sides, -1), axes)
        mixed = attend(query, key, value, terms.flatten(5, 7).flatten(0, 3), sides)
        mixed = mixed.transpose(1, 2).reshape(len(tokens), order.numel(), -1)
        return self.proj(mixed.index_select(1, back).view(tokens.shape))

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


def _window_order(axes: list[AxisWindows], device: torch.device) -> tuple[Tensor, Tensor]:
    """Numbers of a volume's tokens in the order of windows, and back.

    Returns:
        int64 (windows, tokens of one), 0 for blank ones; int64 (d * h * w,), where each token is in the former.
    """
    number = torch.zeros([], dtype=torch.int64, device=device)
    blank = torch.zeros([], dtype=torch.bool, device=device)
    for at, axis in enumerate(axes):
        shape = [1] * 6
        shape[at], shape[3 + at] = axis.count, axis.side
        places = axis.places(device).view(shape)
        number, blank = number * axis.length + places, blank | (places >= axis.length)
    number, blank = (each.flatten(0, 2).flatten(1) for each in (number, blank))
    back = torch.empty(math.prod(axis.length for axis in axes), dtype=torch.int64, device=device)
    back[number[~blank]] = torch.arange(number.numel(), device=device)[~blank.flatten()]
    return number.masked_fill(blank, 0), back
