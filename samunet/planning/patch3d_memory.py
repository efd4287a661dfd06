"""How much memory training on 3D patches takes with SAM's encoder in the loop, counted from the plan's numbers.

Counted is one process on a CPU, in float32. What a token keeps is counted of the networks in `networks.promptable_3d`;
studies/patch3d_memory.py measures the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from samunet.planning.adapter_memory import (
    FLOAT,
    FROZEN_COPIES,
    PROCESS_BYTES,
    TRAINED_COPIES,
    adapter_channels,
    frozen_values,
)
from samunet.planning.cache_rules import shape_of

WINDOW = 8  # side in tokens of an attention window along each axis
FEATURES, PUBLISHED_WIDTH = 256, 768
# Answers of one sample whose graphs are held together: of two classes, in three rounds of clicks.
ANSWERS = 6
# Values that are kept for the gradient: of a token in one block, in channels of the encoder and in scores of attention;
# of the four necks, in their channels; of an answer, at the grid of half tokens in channels of the decoder, and of each
# voxel.
BLOCK_WIDTHS, BLOCK_SCORES, NECK_FEATURES, ANSWER_FEATURES, ANSWER_VOXEL = 20, 3, 24, 10, 90
LOGIT_COPIES = 10


@dataclass(frozen=True)
class Patch3dNumbers:
    """What memory hangs on.

    Arguments:
        size: of the encoder, as an `EncoderSpec` has it.
        shape, token: voxels (z, y, x) of a patch and of a token.
        classes: output channels of the automatic variant.
    """

    size: str
    shape: tuple[int, int, int]
    token: tuple[int, int, int]
    classes: int

    @property
    def tokens(self) -> int:
        """Tokens of a patch."""
        return math.prod(side // part for side, part in zip(self.shape, self.token, strict=True))


def features_of(width: int) -> int:
    """Channels of the necks of an encoder of `width` channels: 256, scaled with encoders narrower than 768."""
    return min(FEATURES, FEATURES * width // PUBLISHED_WIDTH)


def patch3d_bytes(numbers: Patch3dNumbers, batch_size: int, *, checkpointed: bool) -> int:
    """Bytes that a process holds at most while `batch_size` patches train.

    Arguments:
        checkpointed: whether tokens between blocks alone are kept, and each block is computed twice.
    """
    width, depth, _, _ = shape_of(numbers.size)
    heads, tokens, voxels = max(width // 64, 1), numbers.tokens, math.prod(numbers.shape)
    keys = min(tokens, WINDOW**3)
    block = BLOCK_WIDTHS * width + 10 * adapter_channels(width) + BLOCK_SCORES * heads * keys
    kept = depth * width + block if checkpointed else depth * block
    features = features_of(width)
    # A half-token grid has 8 places a token, each with the four levels at half their channels, and what is made of
    # them.
    answer = 8 * tokens * ANSWER_FEATURES * features // 2 + voxels * ANSWER_VOXEL
    logits = voxels * LOGIT_COPIES * numbers.classes
    values = batch_size * (tokens * (kept + NECK_FEATURES * features) + max(ANSWERS * answer, answer + logits))
    values += FROZEN_COPIES * frozen_values(numbers.size) + TRAINED_COPIES * _trained_values(width, depth)
    return PROCESS_BYTES + FLOAT * values


def _trained_values(width: int, depth: int) -> int:
    """About the adapters, four necks and decoder, in each of which 3x3x3 convolutions outweigh all else."""
    narrow, features = adapter_channels(width), features_of(width)
    return depth * 2 * width * narrow + 4 * (width * features + 27 * features**2) + 4 * 27 * features**2
