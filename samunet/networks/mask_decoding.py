"""SAM's mask decoder with one prompt an image: B prompts on B images, not B x B as in segment-anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:  # segment_anything imports torchvision, for seconds
    from segment_anything.modeling import MaskDecoder


def decode_masks(
    decoder: MaskDecoder, embeddings: Tensor, positions: Tensor, sparse: Tensor, dense: Tensor
) -> tuple[Tensor, Tensor]:
    """Masks of B prompts on B images.

    segment-anything's `predict_masks` repeats every image embedding for every prompt; here prompt b is for
    image b only. All masks are returned; the caller chooses between SAM's one and three.

    Arguments:
        decoder: SAM's mask decoder with M mask tokens.
        embeddings: float (B, 256, g, g).
        positions: float (1, 256, g, g), the prompt encoder's `get_dense_pe()`.
        sparse: float (B, N, 256), prompt tokens.
        dense: float (B or 1, 256, g, g), mask prompt or `no_mask_embed`.

    Returns:
        logits float (B, M, 4g, 4g), and the predicted IoU float (B, M).
    """
    count = len(sparse)
    output_tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([output_tokens.expand(count, -1, -1), sparse], 1)
    queries, keys = decoder.transformer(embeddings + dense, positions.expand(count, -1, -1, -1), tokens)
    grid = keys.transpose(1, 2).reshape(count, -1, *embeddings.shape[2:])
    upscaled = decoder.output_upscaling(grid)
    hyper = torch.stack([mlp(queries[:, 1 + index]) for index, mlp in enumerate(decoder.output_hypernetworks_mlps)], 1)
    return torch.einsum("bmc,bchw->bmhw", hyper, upscaled), decoder.iou_prediction_head(queries[:, 0])
