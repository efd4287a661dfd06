"""Self-attention with decomposed relative positions, over a whole grid of tokens or in windows, fused.

A query adds to its score of the key at row k and column l two terms, q . T_h[its row - k] and q . T_w[its column - l],
with learned tables T and the query before it is scaled (MViTv2, arXiv 2112.01526, section 4.1). Windows that hang over
the grid's edge are filled with zero tokens, which still serve as keys (ViTDet, arXiv 2203.16527, as Segment Anything
has it).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

SCORES_AT_ONCE = 2**20  # positional terms that a CPU computes at a time: 4 MB, which fit into its caches
LANES = 8  # fused kernels of a GPU need heads whose width is a multiple of this


class Attention(nn.Module):
    """Multi-head self-attention on a grid of tokens, with Segment Anything's parameter names.

    Arguments:
        width: channels of a token.
        heads: number of heads; divides `width`.
        window: side of the windows in tokens; 0 attends over the whole grid.
        grid: rows and columns of the grid. Without windows, the tables of relative positions fit it; for another grid
            they are interpolated to its longer side.
    """

    def __init__(self, width: int, heads: int, window: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        rows, columns = (window, window) if window else grid
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * rows - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * columns - 1, width // heads))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, D) -> (B, H, W, D), in the number type of the weights, or autocast's where that is on."""
        _, rows, columns, _ = tokens.shape
        side = (self.window, self.window) if self.window else (rows, columns)
        qkv = self.qkv(tokens.to(self.qkv.weight.dtype))
        # An oblong grid is the upper left part of a square one: a step along either axis means the same.
        square = self.window or max(rows, columns)
        tables = (relative_positions(self.rel_pos_h, square)[: side[0], :, : side[0]].to(qkv.dtype),
                  relative_positions(self.rel_pos_w, square)[: side[1], :, : side[1]].to(qkv.dtype))
        # Windows over the edge are treated separately: their blank queries need not be computed.
        mixed = [
            _joined([self._mix(qkv[:, down, across], (height, length), tables)
                     for across, length in spans(columns, side[1])], 2)
            for down, height in spans(rows, side[0])
        ]
        return self.proj(_joined(mixed, 1))

    def _mix(self, qkv: Tensor, shape: tuple[int, int], tables: tuple[Tensor, Tensor]) -> Tensor:
        """Attention inside windows of which the part `shape` is on the grid; qkv (B, H, W, 3 D) -> (B, H, W, D)."""
        batch, down, across = qkv.shape[0], qkv.shape[1] // shape[0], qkv.shape[2] // shape[1]
        parts = qkv.view(batch, down, shape[0], across, shape[1], 3, self.heads, -1).permute(5, 0, 1, 3, 6, 2, 4, 7)
        query, key, value = parts.flatten(1, 3).unbind()  # each (windows, heads, h, w, d)
        by_row = torch.einsum("nahwd,hdk->nahwk", query, tables[0][: shape[0]]).flatten(2, 3)
        by_column = torch.einsum("nahwd,wdk->nahwk", query, tables[1][: shape[1]]).flatten(2, 3)
        query, key, value = (part.flatten(2, 3) for part in (query, key, value))
        blank = None
        if shape != (len(tables[0]), len(tables[1])):
            blank = blank_score(by_row, by_column, shape)
            by_row, by_column = by_row[..., : shape[0]], by_column[..., : shape[1]]
            _, key_of_zero, value_of_zero = self.qkv.bias.to(key.dtype).view(3, self.heads, 1, -1)
            key = torch.cat([key, key_of_zero.expand(len(key), -1, -1, -1)], 2)
            value = torch.cat([value, value_of_zero.expand(len(value), -1, -1, -1)], 2)
        mixed = attend(query, key, value, by_row, by_column, blank)
        mixed = mixed.view(batch, down, across, self.heads, *shape, -1).permute(0, 1, 4, 2, 5, 3, 6)
        return mixed.reshape(batch, down * shape[0], across * shape[1], -1)


def relative_positions(table: Tensor, length: int) -> Tensor:
    """Entries of `table` (2 n - 1, d) for each query and key on an axis of `length` tokens: (query, d, key).

    The entry of query i and key j is number i - j + length - 1. A table of another length is interpolated
    linearly, without aligned corners.
    """
    if len(table) != 2 * length - 1:
        table = functional.interpolate(table.T[None], 2 * length - 1, mode="linear")[0].T
    return table.unfold(0, length, 1).flip(2)


def spans(length: int, side: int) -> Iterator[tuple[slice, int]]:
    """Windows of `side` along an axis of `length` tokens, with their extents: full ones, then the one over the edge.
    """
    whole = length - length % side
    if whole:
        yield slice(0, whole), side
    if whole < length:
        yield slice(whole, length), length - whole


def blank_score(by_row: Tensor, by_column: Tensor, shape: tuple[int, int]) -> Tensor:
    """Sum of the positional terms of a window's blank keys; the window's part `shape` = (h, w) is on the grid.

    Blank tokens are zero, so all have the same key and value. Weights exp(q . k + r) of equal k and value sum up to
    exp(q . k + log sum exp r), so one key with the term log sum exp r stands for all: those right of column w, then
    those below row h and left of column w.

    Arguments:
        by_row: (windows, heads, queries, window's height), terms of each key row.
        by_column: (windows, heads, queries, window's width).

    Returns:
        (windows, heads, queries, 1).
    """
    rows, columns = by_row.float(), by_column.float()
    right = rows.logsumexp(-1) + columns[..., shape[1] :].logsumexp(-1)
    below = rows[..., shape[0] :].logsumexp(-1) + columns[..., : shape[1]].logsumexp(-1)
    return torch.logaddexp(right, below)[..., None].to(by_row.dtype)


def attend(
    query: Tensor, key: Tensor, value: Tensor, by_row: Tensor, by_column: Tensor, blank: Tensor | None = None
) -> Tensor:
    """softmax(q . k / sqrt(d) + positional terms) v.

    Arguments:
        query: (N, heads, queries, d).
        key, value: (N, heads, h * w, d), row by row; one more where `blank` is given.
        by_row, by_column: the terms of each key row and column, (N, heads, queries, h) and (N, heads, queries, w).
        blank: the term of the last key, (N, heads, queries, 1).

    Returns:
        (N, heads, queries, d).
    """
    if query.is_cuda:
        return attend_widened(query, key, value, by_row, by_column, blank)
    if by_row.requires_grad:
        return functional.scaled_dot_product_attention(query, key, value, _terms(by_row, by_column, blank))
    if query.dtype == torch.bfloat16:
        return attend_by_products(query, key, value, by_row, by_column, blank)
    return _attend_in_parts(query, key, value, by_row, by_column, blank)


def attend_widened(
    query: Tensor, key: Tensor, value: Tensor, by_row: Tensor, by_column: Tensor, blank: Tensor | None = None
) -> Tensor:
    """`attend` with the terms as further channels of the queries, which the keys select with ones; no N x N array.
    """
    query, key = _widened(query, key, by_row, by_column, blank)
    # Kernels need one width for all three.
    wide = functional.pad(value, (0, query.shape[-1] - value.shape[-1]))
    return functional.scaled_dot_product_attention(query, key, wide, scale=1.0)[..., : value.shape[-1]]


def attend_by_products(
    query: Tensor, key: Tensor, value: Tensor, by_row: Tensor, by_column: Tensor, blank: Tensor | None = None
) -> Tensor:
    """`attend_widened` as two matrix products with softmax between them, some heads at a time.

    For bfloat16 on a CPU, whose fused kernel takes twice as long as these; in float32 the fused kernel is faster.
    """
    windows, heads, queries, depth = value.shape[0], value.shape[1], query.shape[2], value.shape[3]
    query, key = (part.flatten(0, 1) for part in _widened(query, key, by_row, by_column, blank))
    value = value.flatten(0, 1)
    few = max(1, SCORES_AT_ONCE // (queries * key.shape[1]))
    mixed = torch.cat([
        torch.bmm(torch.bmm(some, keys.transpose(1, 2)).softmax(-1), values)
        for some, keys, values in zip(query.split(few), key.split(few), value.split(few), strict=True)
    ])
    return mixed.view(windows, heads, queries, depth)


def _widened(
    query: Tensor, key: Tensor, by_row: Tensor, by_column: Tensor, blank: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Queries and keys (N, heads, n, d + terms), whose products are the scores including the positional terms."""
    height, width = by_row.shape[-1], by_column.shape[-1]
    extra = height + width + (blank is not None)
    padding = -(query.shape[-1] + extra) % LANES
    picks = torch.zeros(key.shape[2], extra + padding, dtype=key.dtype, device=key.device)
    places = torch.arange(height * width, device=key.device)
    picks[places, places // width] = 1
    picks[places, height + places % width] = 1
    if blank is not None:
        picks[-1, height + width] = 1
    terms = [by_row, by_column] if blank is None else [by_row, by_column, blank]
    query = torch.cat([query * query.shape[-1] ** -0.5, functional.pad(torch.cat(terms, -1), (0, padding))], -1)
    return query, torch.cat([key, picks.expand(*key.shape[:2], -1, -1)], -1)


def _attend_in_parts(
    query: Tensor, key: Tensor, value: Tensor, by_row: Tensor, by_column: Tensor, blank: Tensor | None
) -> Tensor:
    """`attend`, a few windows or some queries of one window at a time."""
    windows, heads, queries, depth = query.shape
    each = heads * queries * key.shape[2]
    some = max(1, SCORES_AT_ONCE // each)
    few = queries if some > 1 else max(1, SCORES_AT_ONCE * queries // each)
    # Token by token with all heads in sequence: the layout that the following projection reads.
    mixed = query.new_empty(windows, queries, heads, depth).transpose(1, 2)
    for first in range(0, windows, some):
        among = slice(first, first + some)
        for start in range(0, queries, few):
            part = among, slice(None), slice(start, start + few)
            terms = _terms(by_row[part], by_column[part], None if blank is None else blank[part])
            mixed[part] = functional.scaled_dot_product_attention(query[part], key[among], value[among], terms)
    return mixed


def _terms(by_row: Tensor, by_column: Tensor, blank: Tensor | None) -> Tensor:
    """Positional terms of every key: (N, heads, queries, keys)."""
    terms = (by_row[..., :, None] + by_column[..., None, :]).flatten(3)
    return terms if blank is None else torch.cat([terms, blank], -1)


def _joined(parts: list[Tensor], axis: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, axis)
