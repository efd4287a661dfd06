"""The number type of matrix products and convolutions; weights, norms, losses and sums stay float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from samunet.networks.image_encoder import fast_dtype

if TYPE_CHECKING:
    from samunet.variants.base import Variant


def dtype_of(variant: Variant, device: torch.device) -> torch.dtype:
    """What a variant is trained and predicts in: `dtype_of_products`, or float32 where the variant needs it."""
    return torch.float32 if variant.full_precision else dtype_of_products(device)


def dtype_of_products(device: torch.device) -> torch.dtype:
    """float16 on a CUDA card, bfloat16 on a processor that multiplies its matrices, float32 elsewhere.

    In bfloat16 an iteration takes half to four fifths of the time; Dice was not lower, after as much training or where
    one model of `hybrid` predicts in both (studies/speed.md).
    """
    return torch.float16 if device.type == "cuda" else fast_dtype(device)
