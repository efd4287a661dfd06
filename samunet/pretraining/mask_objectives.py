"""Losses of the mask decoder, and through it of the encoder: masks prompted by points, boxes and other images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from samunet.networks.mask_decoding import decode_masks
from samunet.networks.prompts import BACKGROUND, FOREGROUND, MASK_SCALE, with_click
from samunet.networks.sam import Sam
from samunet.pretraining.queries import Queries, random_pixels

PIXEL_WEIGHT = 0.05  # of the cross entropy against the Dice loss
SMALLEST_SHARE = 1 / 64  # of the image: in the cross entropy, smaller masks are weighted like masks of this size


def answered(queries: Queries, sam: Sam) -> Tensor:
    """Loss of the decoder's first mask and of its predicted IoU."""
    logits, rating = _decoded(queries, sam)
    return _judged(logits, rating, queries)


def corrected(queries: Queries, sam: Sam, generator: torch.Generator) -> Tensor:
    """Loss of point and box prompts, every second one with a corrective click, after Kirillov et al. 2023, appendix A.

    For a point, the best of the three masks for ambiguous prompts counts; mask 0 is trained on all prompts.
    """
    logits, rating = _decoded(queries, sam)
    loss = _judged(logits, rating, queries)
    if bool((points := queries.prompts.kinds[:, 0] == FOREGROUND).any()):
        target, known = queries.target[points], queries.known[points]
        ambiguous = torch.stack([mask_loss(logits[points, index], target, known)
                                 for index in range(1, logits.shape[1])])
        loss = loss + 0.5 * ambiguous.amin(0).mean()
    second, masks = queries[::2], logits[::2, :1].detach()
    click, kind = _correction(masks[:, 0], second.target, second.known, generator)
    clicked = with_click(second.prompts, click, kind, masks, sam.prompt_encoder)
    return loss + answered(Queries(second.embeddings, clicked, second.target, second.known), sam)


def _decoded(queries: Queries, sam: Sam) -> tuple[Tensor, Tensor]:
    sparse, dense = queries.prompts.encode(sam.prompt_encoder)
    return decode_masks(sam.mask_decoder, queries.embeddings, sam.prompt_encoder.get_dense_pe(), sparse, dense)


def _judged(logits: Tensor, rating: Tensor, queries: Queries) -> Tensor:
    loss = mask_loss(logits[:, 0], queries.target, queries.known).mean()
    return loss + rating_loss(logits, rating, queries.target, queries.known)


def mask_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Dice loss of each mask and a little cross entropy: logits, target and known in [0, 1], all (N, h, w) -> (N,).

    SAM uses 20 parts of focal loss to one of Dice. We differ because a focal loss with equal weight for mask and
    background makes masks twice too large, and one averaged over all pixels teaches an untrained decoder to predict
    empty masks. The cross entropy here is summed over pixels and divided by the area of the mask. It penalises empty
    masks, which Dice hardly does; a larger weight makes masks too small.
    """
    chance = logits.sigmoid()
    overlap = (2 * (chance * target * known).sum((1, 2)) + 1) / (((chance + target) * known).sum((1, 2)) + 1)
    wrong = (binary_cross_entropy_with_logits(logits, target, reduction="none") * known).sum((1, 2))
    area = (target * known).sum((1, 2)).clamp_min(SMALLEST_SHARE * target[0].numel())
    return 1 - overlap + PIXEL_WEIGHT * wrong / area


def rating_loss(logits: Tensor, rating: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Mean squared error of the predicted IoU; logits (N, M, h, w), rating (N, M)."""
    found = (logits.detach() > 0) & (known > 0.5)[:, None]
    wanted = (target > 0.5)[:, None]
    union = (found | wanted).sum((2, 3))
    iou = torch.where(union > 0, (found & wanted).sum((2, 3)) / union.clamp_min(1), 1.0)
    return mse_loss(rating, iou.float())


def _correction(logits: Tensor, target: Tensor, known: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A click (x, y) float (N, 2) in input pixels where mask and target differ, and its kind int64 (N,)."""
    wanted = target > 0.5
    error = ((logits > 0) != wanted) & (known > 0.5)
    pixel = random_pixels(error, generator).long()
    inside = wanted[torch.arange(len(wanted), device=wanted.device), pixel[:, 1], pixel[:, 0]]
    return (pixel.float() + 0.5) * MASK_SCALE - 0.5, torch.where(inside, FOREGROUND, BACKGROUND)
