"""Tokens of labelled regions for SAM's decoder: the mean of a region's cells, several means, or some of the cells."""

from __future__ import annotations

import torch
from torch import Tensor

from samunet.networks.prompts import BACKGROUND, FOREGROUND, NO_POINT

RULES = MEAN, CLUSTERS, FARTHEST = "mean", "clusters", "farthest"  # the simplest first
TOKENS = 4  # of a region, and of the rest, by the rules that give several
ROUNDS = 10  # of k-means
SMALLEST_COVERAGE = 0.25  # of one cell, summed over the image: less is no region to learn from


def region_tokens(embeddings: Tensor, coverage: Tensor, rule: str = MEAN) -> tuple[Tensor, Tensor]:
    """Tokens of one region in B support images, as `Prompts` has them.

    Arguments:
        embeddings: float (B, 256, g, g).
        coverage: float (B, g, g) in [0, 1], the share of each cell that the region covers.
        rule: `mean`: the mean of all cells, each as far as it is covered. `clusters`: the means of k-means. `farthest`:
            cells whose embeddings are far from each other. The latter two look at cells that are covered at least
            half as much as the most covered one, and give TOKENS tokens, fewer where fewer cells differ.

    Returns:
        M tokens of the region and then M of the rest, float (B, 2 M, 256), and their kinds, int64 (B, 2 M); M is 1 for
        `mean`, else TOKENS. What covers less than SMALLEST_COVERAGE of a cell is NO_POINT, and so are tokens that are
        missing.
    """
    shares = torch.stack([coverage, 1 - coverage], 1)
    total = shares.sum((2, 3))
    known = total >= SMALLEST_COVERAGE
    kinds = torch.tensor([FOREGROUND, BACKGROUND], device=embeddings.device).expand(len(embeddings), -1)
    kinds = torch.where(known, kinds, NO_POINT)
    if rule == MEAN:
        means = torch.einsum("bkhw,bchw->bkc", shares, embeddings) / total.clamp_min(1e-6)[..., None]
        return means * known[..., None], kinds
    points_of = {CLUSTERS: cluster_means, FARTHEST: farthest_cells}[rule]
    content = embeddings.new_zeros(*known.shape, TOKENS, embeddings.shape[1])
    several = torch.full((*known.shape, TOKENS), NO_POINT, device=embeddings.device)
    for image, side in known.nonzero().tolist():
        points = points_of(*_held(embeddings[image].flatten(1).T, shares[image, side].flatten()))
        content[image, side, : len(points)] = points
        several[image, side, : len(points)] = kinds[image, side]
    return content.flatten(1, 2), several.flatten(1, 2)


def farthest_cells(cells: Tensor, weights: Tensor) -> Tensor:
    """At most TOKENS of `cells`, float (N, C) with `weights` (N,), as (M, C): first the nearest to the mean, then the
    farthest.

    The farthest is the one whose nearest chosen cell is farthest away. Equal cells are chosen once.
    """
    first = _distances(cells, weights @ cells / weights.sum()).argmin()
    chosen, distances = [first], _distances(cells, cells[first])
    while len(chosen) < TOKENS and bool(distances.max() > 0):
        chosen.append(distances.argmax())
        distances = torch.minimum(distances, _distances(cells, cells[chosen[-1]]))
    return cells[torch.stack(chosen)]


def cluster_means(cells: Tensor, weights: Tensor) -> Tensor:
    """Weighted k-means (Lloyd) of `cells`, float (N, C) with `weights` (N,), from the farthest cells: at most TOKENS
    means (M, C).

    Nothing is random. A cluster without cells is dropped.
    """
    means = farthest_cells(cells, weights)
    for _ in range(ROUNDS):
        nearest = torch.stack([_distances(cells, mean) for mean in means]).argmin(0)
        members = (nearest == torch.arange(len(means), device=cells.device)[:, None]) * weights  # (M, N)
        members = members[members.sum(1) > 0]
        means = members @ cells / members.sum(1, keepdim=True)
    return means


def _held(cells: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """The cells of (N, C) that are covered at least half as much as the most covered one, and their shares."""
    held = shares >= shares.max() / 2
    return cells[held], shares[held]


def _distances(cells: Tensor, point: Tensor) -> Tensor:
    """Distances, exactly 0 for equal cells, which `torch.cdist` does not guarantee."""
    return (cells - point).norm(dim=1)
