"""Windows of one or several slices, averaged in slice order with bounded memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from samunet.planning.tiles import TileFrame, window_starts

Pick = tuple[int, int]
LogitsOf = Callable[[Sequence[Pick]], Tensor]
Slab = tuple[int, np.ndarray]
DEPTH_STEP = 0.5


def gaussian_weights(window: Sequence[int]) -> Tensor:
    """Weights float32 of shape `window`: peak 1 at `window // 2`, sigma an eighth of the window along each axis.

    The farthest corner of a 3D window weighs exp(-24), which float32 holds, so no weight is 0 and none needs mending.
    """
    weights = torch.ones((), dtype=torch.float64)
    for size in window:
        distance = (torch.arange(size, dtype=torch.float64) - size // 2) / (size / 8)
        weights = weights[..., None] * torch.exp(-0.5 * distance**2)
    return weights.float()


def sliding_window(
    logits_of: LogitsOf, frame: TileFrame, depth: int, *, batch_size: int, slices: int = 1,
    uniform_weights: bool = False, slice_step: float | None = None,
) -> Iterator[Slab]:
    """Join the logits of all windows of one case; yield slabs as soon as no later window can reach them.

    Windows are visited in slice order, so that the accumulators of only `slices` slices are in memory. Every voxel is
    divided by the true sum of its weights; padding is removed.

    Arguments:
        logits_of: gives logits (B, K, slices, rows, columns) of B picks (first slice of the window, tile index).
            The first slice is negative, and the last beyond the case, where the case is shallower than the window.
        frame: the case's in-plane tiles.
        depth: slices of the case.
        batch_size: picks a call, taken across tiles and slices.
        slices: slices of one window; 1 for heads on single slices.
        uniform_weights: whether all slices of a window weigh the same; else those in its middle weigh most.
        slice_step: most slices between neighbouring windows, as a fraction of `slices`, above 0 and at most 1; None:
            half, or with uniform weights a window at each slice, so that a slice has up to `slices` predictions.

    Yields:
        (first slice, logits float32 (K, dz, Y, X)) on the CPU, together every slice once, in order.
    """
    before = (max(depth, slices) - depth) // 2
    step = slice_step or (1 / slices if uniform_weights else DEPTH_STEP)
    starts = window_starts(max(depth, slices), slices, step)
    picks = [(start, tile) for start in starts for tile in range(len(frame.starts))]
    joined: _Joined | None = None
    for batch in _batches(picks, batch_size):
        logits = logits_of([(start - before, tile) for start, tile in batch])
        for (start, tile), window in zip(batch, logits, strict=True):
            if joined is None:
                joined = _Joined(frame, starts, slices, window, uniform_weights)
            yield from _inside(joined.finished_before(start), before, depth)
            joined.add(tile, window)
    if joined is not None:
        yield from _inside(joined.finished_before(max(depth, slices)), before, depth)


class _Joined:
    """Weighted sums of `slices` slices from `first` on, in the padded frame."""

    def __init__(
        self, frame: TileFrame, starts: Sequence[int], slices: int, like: Tensor, uniform_weights: bool
    ) -> None:
        self.frame, self.first, self.tiles = frame, 0, frame.starts
        rows, columns = frame.padded_shape
        self.sums = torch.zeros((like.shape[0], slices, rows, columns), dtype=torch.float32, device=like.device)
        # All tiles are visited at every start, so the sum of the weights is a product of two sums.
        self.plane_sum = torch.zeros((rows, columns), device=like.device)
        plane, along = gaussian_weights(frame.tile).to(like.device), gaussian_weights((slices,))
        self.weights = gaussian_weights((slices, *frame.tile)).to(like.device)
        if uniform_weights:
            along, self.weights = torch.ones(slices), plane.expand(slices, -1, -1)
        for row, column in self.tiles:
            self.plane_sum[row : row + frame.tile[0], column : column + frame.tile[1]] += plane
        self.slice_sum = torch.zeros(starts[-1] + slices)
        for start in starts:
            self.slice_sum[start : start + slices] += along

    def add(self, tile: int, window: Tensor) -> None:
        """Add logits (K, slices, rows, columns) of a window that starts at slice `first`."""
        (row, column), (rows, columns) = self.tiles[tile], self.frame.tile
        self.sums[:, :, row : row + rows, column : column + columns] += window.float() * self.weights

    def finished_before(self, slice_: int) -> Iterator[Slab]:
        """Give the slices before `slice_`, padding in-plane removed, and make room for as many new ones."""
        count = slice_ - self.first
        if count <= 0:
            return
        (top, left), (height, width) = self.frame.before, self.frame.shape
        weight = self.slice_sum[self.first : slice_].to(self.sums.device)[:, None, None] * self.plane_sum
        slab = (self.sums[:, :count] / weight)[:, :, top : top + height, left : left + width]
        first, self.first = self.first, slice_
        remaining = self.sums[:, count:].clone()
        self.sums.zero_()
        self.sums[:, : remaining.shape[1]] = remaining
        yield first, slab.cpu().numpy()


def _inside(slabs: Iterator[Slab], before: int, depth: int) -> Iterator[Slab]:
    """Slabs in the case's own slice numbers, without the padding along the slices."""
    for first, slab in slabs:
        first -= before
        low, high = max(first, 0), min(first + slab.shape[1], depth)
        if low < high:
            yield low, np.ascontiguousarray(slab[:, low - first : high - first])


def _batches(picks: Sequence[Pick], size: int) -> Iterator[list[Pick]]:
    stream = iter(picks)
    for _ in range(math.ceil(len(picks) / size)):
        yield list(islice(stream, size))
