"""What is made of a decoder's answer to a box: no mask outside it, and the ellipse in it where the answer is much like one."""

from __future__ import annotations

import torch
from torch import Tensor

from samunet.networks.prompts import MASK_SCALE, SURE

NEVER = -2 * SURE  # logit outside the box, and the limit of what the decoder may say either way
LIKE_ELLIPSE = 0.8  # IoU of answer and ellipse from which on the ellipse has a say
ELLIPSE_LOGIT = 20.0  # how much of one, in its middle
BIAS = 1.0


def answer_in_box(logits: Tensor, boxes: Tensor) -> Tensor:
    """A small decoder's answers to boxes, mended by what a box says by itself.

    A box is drawn around its object, so nothing outside it is asked for. And many objects fill their box much as the ellipse
    inscribed in it does (Kirillov et al., arXiv 2304.02643, know no such prior). An answer whose IoU with that ellipse is above
    LIKE_ELLIPSE gets ELLIPSE_LOGIT * (1 - r) added, r being 1 on the ellipse and 0 in its middle, so that the picture moves the edge
    and does not draw it. Other answers stay: thin and branched objects are far from an ellipse. BIAS is added to both.

    The constants were chosen for `mini-3` by `benchmarks/box_answer.py`, on made families and phantoms alone, as the best mean of a
    grid; the best is at the grid's end in all three. Documentation, model card: figures, on made and on real pictures.

    Arguments:
        logits: float (N, 4g, 4g), of the decoder.
        boxes: float (N, 4), x0, y0, x1, y1 in pixels of the encoder's input.

    Returns:
        logits float (N, 4g, 4g).
    """
    middles = (torch.arange(logits.shape[-1], device=logits.device) + 0.5) * MASK_SCALE
    low, high = boxes[:, :2], boxes[:, 2:]
    along = (middles - (low + high)[..., None] / 2) / ((high - low)[..., None] / 2).clamp_min(1e-3)  # (N, 2, 4g)
    across, down = along[:, 0, None, :], along[:, 1, :, None]
    radius = (across**2 + down**2).sqrt()
    outside = (across.abs() > 1) | (down.abs() > 1)
    answer = logits.clamp(NEVER, -NEVER)
    mask, ellipse = (answer > 0) & ~outside, radius <= 1
    alike = (mask & ellipse).sum((1, 2)) / (mask | ellipse).sum((1, 2)).clamp_min(1)
    share = torch.where(alike > LIKE_ELLIPSE, ELLIPSE_LOGIT, 0.0)[:, None, None]
    return torch.where(outside, NEVER, answer + share * (1 - radius) + BIAS)
