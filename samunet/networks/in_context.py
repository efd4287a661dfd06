"""In-context segmentation: regions of labelled pictures, pooled to tokens, prompt SAM's decoder on another picture.

Inspired by Xie et al., "SAM Fewshot Finetuning" (WACV 2024), whose pooling rule is not published: one token for each support
picture and region by masked mean, one for the rest of that picture as a negative, each with SAM's own embedding of a
foreground or a background point as its type, and no position. `mini` is trained to be prompted so.
"""

from __future__ import annotations

import torch
from segment_anything.modeling import PromptEncoder
from torch import Tensor

SMALLEST_COVERAGE = 0.25  # of one cell, summed over the picture: less is no region to learn from


def region_tokens(embeddings: Tensor, coverage: Tensor, prompts: PromptEncoder) -> Tensor:
    """Tokens of one region in B support pictures.

    Arguments:
        embeddings: float (B, 256, g, g).
        coverage: float (B, g, g) in [0, 1], the share of each cell that the region covers.
        prompts: SAM's prompt encoder, whose point embeddings type the tokens.

    Returns:
        float (B, 2, 256): the region's token and the rest's. Where either covers less than SMALLEST_COVERAGE of a cell,
        SAM's `not_a_point_embed` stands in its place.
    """
    shares = torch.stack([coverage, 1 - coverage], 1)
    total = shares.sum((2, 3))
    pooled = torch.einsum("bkhw,bchw->bkc", shares, embeddings) / total.clamp_min(1e-6)[..., None]
    types = torch.stack([prompts.point_embeddings[1].weight[0], prompts.point_embeddings[0].weight[0]])
    return torch.where((total >= SMALLEST_COVERAGE)[..., None], pooled + types, prompts.not_a_point_embed.weight[0])


def no_mask(prompts: PromptEncoder, grid: int) -> Tensor:
    """SAM's dense prompt where there is no mask: float (1, 256, grid, grid)."""
    return prompts.no_mask_embed.weight.view(1, -1, 1, 1).expand(1, -1, grid, grid)
