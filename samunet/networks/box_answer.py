"""What is made of a decoder's answer to a box: no mask outside it, and the ellipse in it where the answer is much like
one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from samunet.networks.prompts import SURE, from_middle

NEVER = -2 * SURE  # logit outside the box, and the limit of what the decoder may say either way
LIKE_ELLIPSE = 0.8  # IoU of answer and ellipse from which on the ellipse has a say
ELLIPSE_LOGIT = 20.0  # how much of one, in its middle
BIAS = 1.0


def answer_in_box(logits: Tensor, boxes: Tensor, scale: float) -> Tensor:
    """A small decoder's answers to boxes, mended by what a box says by itself.

    A box is drawn around its object, so nothing outside it is asked for. And many objects fill their box much as the
    ellipse inscribed in it does (Kirillov et al., arXiv 2304.02643, know no such prior). An answer whose IoU with that
    ellipse is above LIKE_ELLIPSE gets ELLIPSE_LOGIT * (1 - r) added, r being 1 on the ellipse and 0 in its middle, so
    that the picture moves the edge and does not draw it. Other answers stay: thin and branched objects are far from an
    ellipse. BIAS is added to both. Then an answer with an ellipse in it is scaled to be no surer than one without can
    be, for classes compete by their logits; where its mask ends does not change.

    The constants were chosen for `mini-3` by `studies/box_answer.py`, on made families and phantoms alone, as the best
    mean of a grid; the best is at the grid's end in all three. Documentation, model card: figures, on made and on real
    pictures.

    Arguments:
        logits: float (N, rows, columns), of the decoder, on the grid that the mask is wanted on: cut before they are
            brought to a finer one, they would lose the edges of small boxes to what lies beside them.
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
    mended = torch.where(outside, NEVER, answer + share * (1 - radius) + BIAS)
    return mended * (-NEVER / (-NEVER + share))
