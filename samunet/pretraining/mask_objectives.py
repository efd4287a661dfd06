"""How the mask decoder is judged, and the encoder through it: masks asked for by points, boxes and other pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

from samunet.networks.mask_decoding import decode_masks
from samunet.networks.prompts import BACKGROUND, FOREGROUND, MASK_SCALE, with_click
from samunet.networks.sam import Sam
from samunet.pretraining.questions import Questions, random_pixels

PIXEL_WEIGHT = 0.05  # of the cross entropy against the Dice loss
SMALLEST_SHARE = 1 / 64  # of the picture: masks smaller than that are weighed in the cross entropy as if they were so large


def answered(questions: Questions, sam: Sam) -> Tensor:
    """Loss of the decoder's first mask and of what it says the mask is worth."""
    logits, rating = _decoded(questions, sam)
    return _judged(logits, rating, questions)


def corrected(questions: Questions, sam: Sam, generator: torch.Generator) -> Tensor:
    """Points and boxes, and for every second one a corrective click; after SAM's own training (Kirillov et al., appendix A).

    A point may be answered by any of the three masks for ambiguous prompts; mask 0 is trained on all.
    """
    logits, rating = _decoded(questions, sam)
    loss = _judged(logits, rating, questions)
    if bool((points := questions.prompts.kinds[:, 0] == FOREGROUND).any()):
        target, known = questions.target[points], questions.known[points]
        ambiguous = torch.stack([mask_loss(logits[points, index], target, known) for index in range(1, logits.shape[1])])
        loss = loss + 0.5 * ambiguous.amin(0).mean()
    second, masks = questions[::2], logits[::2, :1].detach()
    click, kind = _correction(masks[:, 0], second.target, second.known, generator)
    clicked = with_click(second.prompts, click, kind, masks, sam.prompt_encoder)
    return loss + answered(Questions(second.embeddings, clicked, second.target, second.known), sam)


def _decoded(questions: Questions, sam: Sam) -> tuple[Tensor, Tensor]:
    sparse, dense = questions.prompts.encode(sam.prompt_encoder)
    return decode_masks(sam.mask_decoder, questions.embeddings, sam.prompt_encoder.get_dense_pe(), sparse, dense)


def _judged(logits: Tensor, rating: Tensor, questions: Questions) -> Tensor:
    loss = mask_loss(logits[:, 0], questions.target, questions.known).mean()
    return loss + rating_loss(logits, rating, questions.target, questions.known)


def mask_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Dice loss of each mask and a little cross entropy: logits, target in [0, 1], known in [0, 1], all (N, h, w) -> (N,).

    Deviation from SAM's 20 parts of focal loss to one of Dice: a focal loss that weighs a mask as much as the rest makes masks
    twice too large, and one that is a mean over all pixels teaches a decoder that starts from nothing that no mask is the
    safest answer. The cross entropy is a sum over the pixels for each pixel of the mask; it tells empty masks, which Dice
    hardly does, and much of it makes masks too small.
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
