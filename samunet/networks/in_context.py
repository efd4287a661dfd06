"""In-context segmentation: regions of labelled pictures prompt SAM's decoder on other pictures.

Inspired by Xie et al., "SAM Fewshot Finetuning" (WACV 2024), whose pooling rule is not published: one token for each
support picture and region by masked mean, one for the rest of that picture as a negative, each with SAM's own embedding
of a foreground or a background point as its type, and no position. Theirs has no mask prompt; here a ridge regression
from the support's cells to the region gives one, for it reads what all cells of the support say, and tokens say only
their means. `mini` is trained to be prompted so.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from samunet.networks.prompts import SURE, Prompts
from samunet.networks.region_tokens import SMALLEST_COVERAGE, region_tokens
from samunet.networks.ridge import ridge

RIDGE = 10.0  # penalty, in cells whose channels have deviation 1


def region_prompts(support: Tensor, coverage: Tensor, pictures: Tensor) -> list[Prompts]:
    """Prompts that ask for L regions of B support pictures on Q other pictures.

    Arguments:
        support: embeddings float (B, 256, g, g). coverage: float (B, L, g, g) in [0, 1], the share of each cell that a
            region covers. pictures: embeddings float (Q, 256, g, g).

    Returns:
        for each region, Q prompts of 2 B tokens.
    """
    side = 4 * pictures.shape[-1]
    guesses = interpolate(region_guess(support, coverage, pictures), (side, side), mode="bilinear", align_corners=False)
    masked = torch.ones(len(pictures), dtype=torch.bool, device=pictures.device)
    prompts = []
    for region in range(coverage.shape[1]):
        content, kinds = region_tokens(support, coverage[:, region])
        prompts.append(Prompts(content.flatten(0, 1).expand(len(pictures), -1, -1),
                               kinds.flatten().expand(len(pictures), -1),
                               guesses[:, region, None], masked))
    return prompts


def region_guess(support: Tensor, coverage: Tensor, pictures: Tensor) -> Tensor:
    """Where L regions may lie on Q pictures: logits (Q, L, g, g), by ridge regression from cells to shares.

    Arguments:
        support, coverage, pictures: as of `region_prompts`.
    """
    weight, bias = guess_map(support, coverage)
    return guessed(pictures, weight.expand(len(pictures), -1, -1), bias.expand(len(pictures), -1))


@torch.no_grad()
def guess_map(support: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor]:
    """What turns a cell's embedding into the guess of L regions: weight (L, 256) and bias (L,).

    The ridge regression's answers for small regions shrink towards none. So 0 stands where as much of the support is
    answered higher as the region covers of it, and SURE is half the distance of the answers' means in the region and in
    the rest. A region that the support lacks is guessed nowhere.
    """
    deviation, middle = (each.flatten() for each in torch.std_mean(support, (0, 2, 3)))
    deviation = deviation.clamp_min(1e-6)
    seen, target = (_cells(support) - middle) / deviation, _cells(coverage)
    # The answers at the origin and one step along each channel are the regression's bias and weights.
    steps = torch.cat([torch.zeros_like(seen[:1]), torch.eye(seen.shape[1], device=seen.device)])
    told, found = ridge(seen[None], target[None], torch.cat([seen, steps])[None], RIDGE)[0].tensor_split([len(seen)])
    inner, outer = ((told * share).sum(0) / share.sum(0).clamp_min(1e-6) for share in (target, 1 - target))
    rank = target.sum(0).round().long().clamp(1, len(target) - 1)
    # half-way between the two
    edge = told.sort(0, descending=True).values.gather(0, torch.stack([rank - 1, rank])).mean(0)
    scale = SURE / ((inner - outer) / 2).clamp_min(1e-3)
    weight = ((found[1:] - found[0]) * scale / deviation[:, None]).T
    bias = (found[0] - edge) * scale - weight @ middle
    known = target.sum(0) >= SMALLEST_COVERAGE
    return torch.where(known[:, None], weight, 0.0), torch.where(known, bias, -SURE)


def guessed(pictures: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Logits (Q, L, g, g) of the guesses weight (Q, L, 256) and bias (Q, L), one of each for each picture (Q, 256, g,
    g).
    """
    logits = torch.einsum("qlc,qchw->qlhw", weight, pictures) + bias[..., None, None]
    return logits.clamp(-2 * SURE, 2 * SURE)


def _cells(maps: Tensor) -> Tensor:
    """(B, C, g, g) -> (B * g * g, C)."""
    return maps.movedim(1, -1).flatten(0, 2)
