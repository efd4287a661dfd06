"""Adapted encoder and box decoder in one network: the encoder once for a stack, the decoder once for each box in it."""

from __future__ import annotations

import torch
from torch import Tensor

from samunet.networks.adapted_sam import AdaptedSam, side_by_side
from samunet.networks.adapter_3d import AdaptedEncoder
from samunet.networks.box_decoder import BoxDecoder


class BoxedSam(AdaptedSam):
    """Volumes of images (B, N, n, 3, H, W) and Q boxes of each (B, Q, N, 4) -> logits (B, Q, N, H, W).

    A box has one row for each slice, x0, y0, x1, y1 in pixels, NaN on slices outside it; there its logit is `absent`.
    The decoder sees each slice with one box at a time; boxes do not interact.
    """

    def __init__(self, encoder: AdaptedEncoder, decoder: BoxDecoder, absent: float) -> None:
        super().__init__(encoder, decoder)
        self.absent = absent

    def forward(self, stacks: Tensor, boxes: Tensor) -> Tensor:  # type: ignore[override]
        """Image volumes (B, N, n, 3, H, W) and boxes (B, Q, N, 4) -> logits (B, Q, N, H, W)."""
        batch, slots, slices = boxes.shape[:3]
        present = boxes.isfinite().all(-1)
        logits = stacks.new_full((batch, slots, slices, *stacks.shape[-2:]), self.absent)
        # Many stacks have no box: prediction skips them, training needs their gradient (of 0).
        shown = present.any((1, 2)) | torch.is_grad_enabled()
        if not bool(shown.any()):
            return logits
        stacks = stacks[shown]
        embeddings, images = self.embeddings(stacks), side_by_side(stacks)
        answers = []
        for slot in range(slots):  # in sequence, so that memory does not grow with the number of boxes
            here = present[shown, slot]
            answer = logits[shown, slot]
            answer[here] = self.decoder(embeddings[here], boxes[shown, slot][here], images[here]).to(answer.dtype)
            answers.append(answer)
        logits[shown] = torch.stack(answers, 1)
        return logits
