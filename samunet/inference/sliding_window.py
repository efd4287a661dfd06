"""Sliding windows with Gaussian weights, or stacks with uniform weights, merged in slice order in bounded memory."""

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
STACK_STEP = 0.5


def gaussian_weights(window: Sequence[int]) -> Tensor:
    """Weights float32 of shape `window`: peak 1 at `window // 2`, sigma an eighth of the window along each axis.

    The farthest corner of a 3D window weighs exp(-24), above float32's smallest number, so no weight is 0.
    """
    weights = torch.ones((), dtype=torch.float64)
    for size in window:
        distance = (torch.arange(size, dtype=torch.float64) - size // 2) / (size / 8)
        weights = weights[..., None] * torch.exp(-0.5 * distance**2)
    return weights.float()


def sliding_window(
    logits_of: LogitsOf, frame: TileFrame, depth: int, *, batch_size: int, stack_depth: int = 1,
    uniform_weights: bool = False
) -> Iterator[Slab]:
    """Merge the logits of all windows of one case; yield slabs as soon as no later window reaches them.

    Windows are visited in slice order, so that only the accumulators of `stack_depth` slices are in memory. Every voxel
    is divided by the true sum of its weights; padding is removed.

    Arguments:
        logits_of: returns logits (B, K, stack_depth, rows, columns) of B picks (first slice of the stack, tile index).
            If the case is shallower than the stack, the first slice is negative and the last beyond the case.
        frame: the case's in-plane tiles.
        depth: slices of the case.
        batch_size: picks a call, taken across tiles and slices.
        stack_depth: slices of one window; 1 for heads on single slices.
        uniform_weights: True: a stack starts at each slice and all its slices weigh the same, so up to `stack_depth`
            predictions of a slice are averaged. False: stacks start at most half their depth apart, and their middle
            slices weigh most.

    Yields:
        (first slice, logits float32 (K, dz, Y, X)) on the CPU, every slice once, in order.
    """
    before = (max(depth, stack_depth) - depth) // 2
    starts = window_starts(max(depth, stack_depth), stack_depth, 1 / stack_depth if uniform_weights else STACK_STEP)
    picks = [(start, tile) for start in starts for tile in range(len(frame.starts))]
    merged: _Merged | None = None
    for batch in _batches(picks, batch_size):
        logits = logits_of([(start - before, tile) for start, tile in batch])
        for (start, tile), window in zip(batch, logits, strict=True):
            if merged is None:
                merged = _Merged(frame, starts, stack_depth, window, uniform_weights)
            yield from _inside(merged.finished_before(start), before, depth)
            merged.add(tile, window)
    if merged is not None:
        yield from _inside(merged.finished_before(max(depth, stack_depth)), before, depth)


class _Merged:
    """Weighted sums of the `stack_depth` slices from `first` on, in the padded frame."""

    def __init__(
        self, frame: TileFrame, starts: Sequence[int], stack_depth: int, like: Tensor, uniform_weights: bool
    ) -> None:
        self.frame, self.first, self.tiles = frame, 0, frame.starts
        rows, columns = frame.padded_shape
        self.sums = torch.zeros((like.shape[0], stack_depth, rows, columns), dtype=torch.float32, device=like.device)
        # All tiles are visited at every start, so the sum of the weights is a product of two sums.
        self.plane_sum = torch.zeros((rows, columns), device=like.device)
        plane, along = gaussian_weights(frame.tile).to(like.device), gaussian_weights((stack_depth,))
        self.weights = gaussian_weights((stack_depth, *frame.tile)).to(like.device)
        if uniform_weights:
            along, self.weights = torch.ones(stack_depth), plane.expand(stack_depth, -1, -1)
        for row, column in self.tiles:
            self.plane_sum[row : row + frame.tile[0], column : column + frame.tile[1]] += plane
        self.slice_sum = torch.zeros(starts[-1] + stack_depth)
        for start in starts:
            self.slice_sum[start : start + stack_depth] += along

    def add(self, tile: int, window: Tensor) -> None:
        """Add logits (K, stack_depth, rows, columns) of a window that starts at slice `first`."""
        (row, column), (rows, columns) = self.tiles[tile], self.frame.tile
        self.sums[:, :, row : row + rows, column : column + columns] += window.float() * self.weights

    def finished_before(self, slice_: int) -> Iterator[Slab]:
        """Yield the slices before `slice_`, without in-plane padding, and shift the accumulators."""
        count = slice_ - self.first
        if count <= 0:
            return
        (top, left), (height, width) = self.frame.before, self.frame.shape
        weight = self.slice_sum[self.first : slice_].to(self.sums.device)[:, None, None] * self.plane_sum
        slab = (self.sums[:, :count] / weight)[:, :, top : top + height, left : left + width]
        first, self.first = self.first, slice_
        kept = self.sums[:, count:].clone()
        self.sums.zero_()
        self.sums[:, : kept.shape[1]] = kept
        yield first, slab.cpu().numpy()


def _inside(slabs: Iterator[Slab], before: int, depth: int) -> Iterator[Slab]:
    """Slabs in the case's own slice numbers, without padding along the stack."""
    for first, slab in slabs:
        first -= before
        low, high = max(first, 0), min(first + slab.shape[1], depth)
        if low < high:
            yield low, np.ascontiguousarray(slab[:, low - first : high - first])


def _batches(picks: Sequence[Pick], size: int) -> Iterator[list[Pick]]:
    stream = iter(picks)
    for _ in range(math.ceil(len(picks) / size)):
        yield list(islice(stream, size))
