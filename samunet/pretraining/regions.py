"""Regions of a batch: how much of each token's cell every label covers, and target masks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from samunet.planning.encoder_spec import PATCH_SIZE
from samunet.pretraining.anatomy import LABELS
from samunet.pretraining.batches import Batch

SMALLEST_REGION = 0.5  # cells; smaller regions are not queried


def cell_coverage(batch: Batch) -> Tensor:
    """Share of each cell that each label covers, inside the tile: float (F, P, S, LABELS, g, g)."""
    families, patients, slices = batch.labels.shape[:3]
    grid = batch.labels.shape[-1] // PATCH_SIZE
    # Labels are counted by a histogram of (cell, label): one-hot pixels of all labels would need 14 times the memory.
    cells = batch.labels.unflatten(3, (grid, PATCH_SIZE)).unflatten(5, (grid, PATCH_SIZE))
    cells = cells.transpose(4, 5).flatten(5).flatten(0, 4).long()
    inside = batch.inside[:, :, None].expand(-1, -1, slices, -1, -1)
    inside = inside.unflatten(3, (grid, PATCH_SIZE)).unflatten(5, (grid, PATCH_SIZE))
    inside = inside.transpose(4, 5).flatten(5).flatten(0, 4)
    counts = torch.zeros(len(cells), LABELS, device=cells.device)
    counts.scatter_add_(1, cells, inside.float())
    shares = counts / PATCH_SIZE**2
    return shares.view(families, patients, slices, grid, grid, LABELS).movedim(-1, 3)


def sampled_labels(weights: Tensor, generator: torch.Generator) -> Tensor:
    """One label for each row of non-negative `weights` (N, LABELS); uniform for a row of zeros."""
    weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, torch.ones_like(weights))
    return torch.multinomial(weights, 1, generator=generator)[:, 0]


def target_masks(labels: Tensor, inside: Tensor, wanted: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Targets at the decoder's resolution.

    Arguments:
        labels: uint8 (N, H, H). inside: bool (N, H, H). wanted: int (N,), the target label. factor: H divided by the
            decoder's size.

    Returns:
        the share of each decoder pixel that the target label covers, and the share inside the tile, both float
        (N, H / factor, H / factor).
    """
    mask = ((labels == wanted[:, None, None]) & inside).float()
    return avg_pool2d(mask[:, None], factor)[:, 0], avg_pool2d(inside.float()[:, None], factor)[:, 0]


def majority(coverage: Tensor) -> tuple[Tensor, Tensor]:
    """Label (…) that covers most of each cell, and its share; dimension -3 of `coverage` is the labels'."""
    share, label = coverage.max(-3)
    return label, share


