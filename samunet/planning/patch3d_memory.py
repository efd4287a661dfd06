"""How much memory training on 3D patches takes with SAM's encoder in the loop, counted from the plan's numbers.

Counted is one process on a CPU, in float32. What a part keeps for its gradient was counted tensor by tensor, of the
networks as they are in `networks.promptable_3d`; studies/patch3d_memory.py measures the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from samunet.planning.adapter_memory import FLOAT, FROZEN_COPIES, PROCESS_BYTES, TRAINED_COPIES, frozen_values
from samunet.planning.cache_rules import shape_of
from samunet.planning.volumetric_channels import VolumetricChannels

WINDOW = 8  # side in tokens of an attention window along each axis
ANSWERS = 3  # of a patch, whose graphs are held together: the rounds of clicks
# Values that are kept: of a token by a block, in channels of the encoder, and by the embedding and four necks, in
# channels of a level; by what all answers share and by each answer, of a token in channels of a level, and at the grid
# of half tokens in channels of the decoder; of a voxel by an answer, in channels of the finest stage and beside them.
BLOCK_WIDTHS, NECK_LEVELS = 15, 17
SHARED_LEVELS, ANSWER_LEVELS, PLACE_WIDTHS = 9, 10, 3
VOXEL_FINE, VOXEL = 2, 12
LOGIT_COPIES = 10  # of logits and their loss
# Values of a token on their way where the gradient passes a block, in channels of the encoder: of the perceptron's
# hidden layer, four times as wide, three copies.
PASSING_WIDTHS = 12
HELD = 1.4  # times what is kept: measured, with what the allocator does not give back


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

    @property
    def places(self) -> int:
        """Places of the grid of half tokens; along an axis of one-voxel tokens, as many as tokens."""
        return self.tokens * math.prod(min(2, part) for part in self.token)


def patch3d_bytes(numbers: Patch3dNumbers, batch_size: int, *, checkpointed: bool) -> int:
    """Bytes that a process holds at most while `batch_size` patches train.

    Arguments:
        checkpointed: whether tokens between blocks alone are kept, and each block is computed twice.
    """
    width, depth, _, _ = shape_of(numbers.size)
    sizes, voxels = VolumetricChannels.of(width), math.prod(numbers.shape)
    tokens, places = numbers.tokens, numbers.places
    blocks = depth * width + BLOCK_WIDTHS * width if checkpointed else depth * BLOCK_WIDTHS * width
    encoder = tokens * (blocks + NECK_LEVELS * sizes.level)
    shared = tokens * SHARED_LEVELS * sizes.level + places * PLACE_WIDTHS * sizes.decoder
    answer = tokens * ANSWER_LEVELS * sizes.level + places * PLACE_WIDTHS * sizes.decoder
    answer += voxels * (VOXEL_FINE * sizes.fine + VOXEL + LOGIT_COPIES)
    # The automatic variant has one answer, of all classes.
    answers = max(ANSWERS * answer, answer + voxels * LOGIT_COPIES * numbers.classes)
    values = round(HELD * batch_size * (encoder + shared + answers + tokens * PASSING_WIDTHS * width))
    values += FROZEN_COPIES * frozen_values(numbers.size) + TRAINED_COPIES * trained_values(width, depth)
    return PROCESS_BYTES + FLOAT * values


def trained_values(width: int, depth: int) -> int:
    """About the trained parameters: adapters, necks, and the decoder's 3 x 3 x 3 convolutions, which outweigh all else.
    """
    sizes = VolumetricChannels.of(width)
    adapters = depth * sizes.adapter * (2 * width + 27)
    necks = 4 * (width * sizes.level + 27 * sizes.level**2)
    branches = 4 * 27 * (sizes.level * sizes.decoder + sizes.decoder**2)
    return adapters + necks + branches + 27 * 4 * sizes.decoder**2
