"""A small SAM in segment-anything's own modules, so that files are what Meta's code would write."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn


@pytest.fixture(scope="session")
def small_sam() -> Sam:
    """96 wide, 4 deep, 3 heads of 32, windows of 3, blocks 1 and 3 global, 128 x 128 pixels; all weights drawn."""
    torch.manual_seed(7)
    encoder = ImageEncoderViT(
        img_size=128, embed_dim=96, depth=4, num_heads=3, norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=True,
        window_size=3, global_attn_indexes=(1, 3),
    )
    sam = Sam(
        encoder,
        PromptEncoder(256, (8, 8), (128, 128), 16),
        MaskDecoder(transformer_dim=256, transformer=TwoWayTransformer(2, 256, 8, 2048)),
    )
    for parameter in encoder.parameters():  # SAM starts positions at zero, which would hide a fault in them
        nn.init.normal_(parameter, std=0.1)
    return sam.eval().requires_grad_(False)
