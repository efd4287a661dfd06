"""In-context segmentation: regions of labelled images prompt SAM's decoder on other images.

Inspired by Xie et al., "SAM Fewshot Finetuning" (WACV 2024), whose pooling rule is not published: one token for each
support image and region by masked mean, one for the rest of that image as a negative, each with SAM's own embedding
of a foreground or a background point as its type, and no position. Theirs has no mask prompt; here a ridge regression
from the support's cells to the region gives one: it uses all cells, tokens only their means. `mini` is trained with
such prompts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from samunet.networks.prompts import SURE, Prompts
from samunet.networks.region_tokens import SMALLEST_COVERAGE, region_tokens
from samunet.networks.ridge import ridge

RIDGE = 10.0  # penalty, in cells whose channels have standard deviation 1


def region_prompts(support: Tensor, coverage: Tensor, images: Tensor) -> list[Prompts]:
    """Prompts for L regions of B support images on Q other images.

    Arguments:
        support: embeddings float (B, 256, g, g). coverage: float (B, L, g, g) in [0, 1], the share of each cell that a
            region covers. images: embeddings float (Q, 256, g, g).

    Returns:
        for each region, Q prompts of 2 B tokens.
    """
    side = 4 * images.shape[-1]
    guesses = interpolate(region_guess(support, coverage, images), (side, side), mode="bilinear", align_corners=False)
    masked = torch.ones(len(images), dtype=torch.bool, device=images.device)
    prompts = []
    for region in range(coverage.shape[1]):
        content, kinds = region_tokens(support, coverage[:, region])
        prompts.append(Prompts(content.flatten(0, 1).expand(len(images), -1, -1),
                               kinds.flatten().expand(len(images), -1),
                               guesses[:, region, None], masked))
    return prompts


def region_guess(support: Tensor, coverage: Tensor, images: Tensor) -> Tensor:
    """Where L regions may be on Q images: logits (Q, L, g, g), by ridge regression from cells to shares.

    Arguments:
        support, coverage, images: as of `region_prompts`.
    """
    weight, bias = guess_map(support, coverage)
    return guessed(images, weight.expand(len(images), -1, -1), bias.expand(len(images), -1))


@torch.no_grad()
def guess_map(support: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor]:
    """The linear map from a cell's embedding to the guess of L regions: weight (L, 256) and bias (L,).

    Ridge regression shrinks the values of small regions towards 0. So the values are rescaled: 0 is the threshold above
    which as much of the support is as the region covers, and SURE is half the distance between the mean values in the
    region and in the rest. A region that the support lacks is guessed nowhere.
    """
    scatter, middle = (each.flatten() for each in torch.std_mean(support, (0, 2, 3)))
    scatter = scatter.clamp_min(1e-6)
    seen, target = (_cells(support) - middle) / scatter, _cells(coverage)
    # The values at the origin and one step along each channel give the regression's bias and weights.
    steps = torch.cat([torch.zeros_like(seen[:1]), torch.eye(seen.shape[1], device=seen.device)])
    fitted, found = ridge(seen[None], target[None], torch.cat([seen, steps])[None], RIDGE)[0].tensor_split([len(seen)])
    inner, outer = ((fitted * share).sum(0) / share.sum(0).clamp_min(1e-6) for share in (target, 1 - target))
    rank = target.sum(0).round().long().clamp(1, len(target) - 1)
    # The threshold is half-way between the last covered value and the next.
    edge = fitted.sort(0, descending=True).values.gather(0, torch.stack([rank - 1, rank])).mean(0)
    scale = SURE / ((inner - outer) / 2).clamp_min(1e-3)
    weight = ((found[1:] - found[0]) * scale / scatter[:, None]).T
    bias = (found[0] - edge) * scale - weight @ middle
    known = target.sum(0) >= SMALLEST_COVERAGE
    return torch.where(known[:, None], weight, 0.0), torch.where(known, bias, -SURE)


def guessed(images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Logits (Q, L, g, g) of the guesses weight (Q, L, 256) and bias (Q, L), one for each image (Q, 256, g, g)."""
    logits = torch.einsum("qlc,qchw->qlhw", weight, images) + bias[..., None, None]
    return logits.clamp(-2 * SURE, 2 * SURE)


def _cells(maps: Tensor) -> Tensor:
    """(B, C, g, g) -> (B * g * g, C)."""
    return maps.movedim(1, -1).flatten(0, 2)
