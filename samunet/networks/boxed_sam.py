"""Adapted encoder and box decoder in one network: the encoder once for a stack, the decoder once for each box in it."""

from __future__ import annotations

import torch
from torch import Tensor

from samunet.networks.adapted_sam import AdaptedSam, side_by_side
from samunet.networks.adapter_3d import AdaptedEncoder
from samunet.networks.box_decoder import BoxDecoder


class BoxedSam(AdaptedSam):
    """Volumes of pictures (B, N, n, 3, H, W) and Q boxes of each (B, Q, N, 4) -> logits (B, Q, N, H, W).

    A box is told slice by slice, x0, y0, x1, y1 in pixels, NaN on slices that it does not reach; there its logit is
    `absent`. The decoder sees each slice with the box on it, one prompt a picture; no box knows of another.
    """

    def __init__(self, encoder: AdaptedEncoder, decoder: BoxDecoder, absent: float) -> None:
        super().__init__(encoder, decoder)
        self.absent = absent

    def forward(self, stacks: Tensor, boxes: Tensor) -> Tensor:  # type: ignore[override]
        batch, slots, slices = boxes.shape[:3]
        asked = boxes.isfinite().all(-1)
        logits = stacks.new_full((batch, slots, slices, *stacks.shape[-2:]), self.absent)
        # Prediction meets many stacks without a box; in training they give the loss a gradient, of 0.
        shown = asked.any((1, 2)) | torch.is_grad_enabled()
        if not bool(shown.any()):
            return logits
        stacks = stacks[shown]
        embeddings, pictures = self.embeddings(stacks), side_by_side(stacks)
        answers = []
        for slot in range(slots):  # one after the other, so that memory does not grow with the number of boxes
            here = asked[shown, slot]
            answer = logits[shown, slot]
            answer[here] = self.decoder(embeddings[here], boxes[shown, slot][here], pictures[here]).to(answer.dtype)
            answers.append(answer)
        logits[shown] = torch.stack(answers, 1)
        return logits
