"""Correct a decoder's mask for a box prompt: nothing outside the box, and an ellipse where the mask is like one."""

from __future__ import annotations

import torch
from torch import Tensor

from samunet.networks.prompts import SURE, from_middle

NEVER = -2 * SURE  # logit outside the box, and the limit of the decoder's logits in either direction
LIKE_ELLIPSE = 0.8  # IoU of mask and ellipse above which the ellipse contributes
ELLIPSE_LOGIT = 20.0  # logit added in its middle
BIAS = 1.0


def answer_in_box(logits: Tensor, boxes: Tensor, scale: float) -> Tensor:
    """A small decoder's logits for box prompts, corrected by what the box itself implies.

    A box encloses its object, so nothing outside it belongs to the mask. Many objects fill their box roughly like the
    inscribed ellipse (a prior that Kirillov et al., arXiv 2304.02643, do not use). If the mask's IoU with the ellipse
    is above LIKE_ELLIPSE, ELLIPSE_LOGIT * (1 - r) is added, where r is 1 on the ellipse and 0 in its middle: the image
    then only shifts the edge. Other masks stay, because thin and branched objects are far from an ellipse. BIAS is
    added to both. Logits with an ellipse are then scaled to the range of those without, because classes compete by
    their logits; the mask's edge does not move.

    `studies/box_answer.py` chose the constants for `mini-3` as the best mean of a grid search on synthetic families and
    phantoms; the best is at the end of the grid for all three. The model card has figures on synthetic and real images.

    Arguments:
        logits: float (N, rows, columns), of the decoder, on the mask's final grid. Cut before they are brought to a
            finer grid, they would lose the edges of small boxes.
        boxes: float (N, 4), x0, y0, x1, y1 in pixels of the encoder's input.
        scale: pixels of the encoder's input across one of the grid.

    Returns:
        logits float (N, rows, columns).
    """
    across, down = from_middle(boxes, (logits.shape[1], logits.shape[2]), scale)
    radius = (across**2 + down**2).sqrt()
    outside = (across.abs() > 1) | (down.abs() > 1)
    answer = logits.clamp(NEVER, -NEVER)
    mask, ellipse = (answer > 0) & ~outside, radius <= 1
    alike = (mask & ellipse).sum((1, 2)) / (mask | ellipse).sum((1, 2)).clamp_min(1)
    share = torch.where(alike > LIKE_ELLIPSE, ELLIPSE_LOGIT, 0.0)[:, None, None]
    corrected = torch.where(outside, NEVER, answer + share * (1 - radius) + BIAS)
    return corrected * (-NEVER / (-NEVER + share))
