"""Number types of cached embeddings: float16, or int8 with one float32 scale for each channel of each image.

An image has its own scales, so that a slice that is encoded alone is rounded as the same slice in a whole case is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LARGEST_CODE = 127


def stored_dtype(number_type: str, embedding_shape: tuple[int, int, int]) -> np.dtype:
    """What one image's embedding of `embedding_shape` (256, g, g) is in a file.

    float16: the number itself. int8: a record of `codes` int8 (256, g, g) and `scales` float32 (256,).
    """
    if number_type == "float16":
        return np.dtype(np.float16)
    return np.dtype([("codes", np.int8, embedding_shape), ("scales", np.float32, embedding_shape[:1])])


def packed(embeddings: Tensor, number_type: str) -> np.ndarray:
    """Embeddings float32 (N, 256, g, g) as they are stored: float16 (N, 256, g, g), or records (N,).

    int8 is symmetric: a channel's scale is its largest magnitude / 127, and a code is value / scale, rounded to the
    nearest (ties to even). So a restored value is at most half a scale from the true one. A channel of zeros has the
    scale 0.
    """
    values = embeddings.numpy()
    if number_type == "float16":
        return values.astype(np.float16)
    scales = np.abs(values).max(axis=(2, 3)) / np.float32(LARGEST_CODE)
    divisors = np.where(scales > 0, scales, np.float32(1))[:, :, None, None]
    records = np.empty(len(values), stored_dtype(number_type, values.shape[1:]))
    records["codes"] = np.clip(np.rint(values / divisors), -LARGEST_CODE, LARGEST_CODE)
    records["scales"] = scales
    return records


def unpacked(stored: np.ndarray) -> Tensor:
    """The embeddings float32 (N, 256, g, g) that `packed` stored: float16 (N, 256, g, g), or records (N,)."""
    if stored.dtype.names is None:
        return torch.from_numpy(stored.astype(np.float32))
    return torch.from_numpy(stored["codes"] * stored["scales"][:, :, None, None])


def rounded(embeddings: Tensor, number_type: str) -> Tensor:
    """Float32 (N, 256, g, g), rounded as the cache rounds them."""
    return unpacked(packed(embeddings, number_type))
