"""How much memory training `3d_adapter` takes, counted from the plan's numbers, and what is done to stay within the
target.

Counted is one process on a CPU, in float32; a GPU's half numbers take less. What a block keeps was counted tensor by
tensor, of the networks as they are in `networks.adapter_3d` and `networks.progressive_decoder`;
studies/adapter_memory.py measures the whole.
"""

from __future__ import annotations

from dataclasses import dataclass

from samunet.planning.cache_rules import shape_of
from samunet.planning.encoder_spec import EMBEDDING_CHANNELS, PATCH_SIZE

STACKS = 2  # of a batch, for every plan: what a CPU takes through an encoder in seconds
RANK = 32  # of FacT
BOTTLENECK = 384  # of an adapter in the published sizes, 768 to 1280 wide
PUBLISHED_WIDTH = 768
FLOAT = 4  # bytes
# Python, torch and all that a run imports, before anything is loaded: measured with torch 2's Linux build, which has
# CUDA in it.
PROCESS_BYTES = 800 * 10**6
# The encoder as it was loaded, its whole checkpoint, and the copy that has adapters in it.
FROZEN_COPIES = 3
TRAINED_COPIES = 4  # values, gradients, and AdamW's two means
DECODER, DECODER_CLASS = 3_371_168, 133_896  # values of the progressive decoder: of all classes together, and of each
# Values that are kept for the gradient: by the decoder for each pixel; of logits and their loss for each voxel and
# class.
DECODER_PIXEL = 97
# Values of a pixel on their way where the decoder's gradient passes what joins features and picture: of its 16 channels
# before and after their activation, and of the 8 features beside them.
DECODER_PASSING = 40
LOGIT_COPIES = 10
# Values of a token that a block holds on its way beside what was kept, in scores of attention and in channels: measured
# of one global block of vit_b at 512 pixels, with what the allocator does not give back.
PASSING_SCORES, PASSING_WIDTHS = 4, 8


@dataclass(frozen=True)
class StackTraining:
    """How `3d_adapter` is trained. `slices` of a stack, `micro_batch` stacks of a batch that go through the network
    together.

    `checkpointed`: whether tokens between blocks alone are kept, and each block is computed twice. `total_bytes`: what
    the process is expected to hold at most.
    """

    slices: int
    micro_batch: int
    checkpointed: bool
    total_bytes: int


@dataclass(frozen=True)
class AdapterNumbers:
    """What memory hangs on.

    Arguments:
        size: of the encoder, as an `EncoderSpec` has it.
        canvas: rows and columns of its pictures in pixels.
        tile_side: the longer side of a tile in voxels.
        alone: pictures of a slice that are encoded alone.
        classes: masks of the decoder.
    """

    size: str
    canvas: tuple[int, int]
    tile_side: int
    alone: int
    classes: int


def plan_stack_training(numbers: AdapterNumbers, depth: int, target_gb: float) -> tuple[StackTraining, str]:
    """The most slices, up to `depth`, that fit the target, the fastest way in which they do; and why.

    For each number of slices, from the most on: both stacks at once with all that the gradient needs; checkpointed,
    which takes one more pass forward; one stack after the other, which takes one more as well; both. If one slice does
    not fit, it is planned all the same.
    """
    ways = [
        StackTraining(
            slices, micro_batch, checkpointed, training_bytes(numbers, slices, micro_batch, checkpointed=checkpointed)
        )
        for slices in range(depth, 0, -2)
        for micro_batch, checkpointed in ((STACKS, False), (STACKS, True), (1, False), (1, True))
    ]
    chosen = next((way for way in ways if way.total_bytes <= target_gb * 1e9), ways[-1])
    told = f"{STACKS} stacks of {depth} slices at once would take {ways[0].total_bytes / 1e9:.1f} GB"
    if chosen is not ways[0]:
        changes = [f"stacks of {chosen.slices}"] * (chosen.slices < depth) + [
            "each block computed twice"
        ] * chosen.checkpointed
        changes += ["one stack after the other"] * (chosen.micro_batch < STACKS)
        told += f"; {', '.join(changes)}: {chosen.total_bytes / 1e9:.1f} GB"
    fits = "within" if chosen.total_bytes <= target_gb * 1e9 else "the least that there is, and more than"
    return chosen, f"{told}, {fits} the target of {target_gb:g} GB"


def training_bytes(numbers: AdapterNumbers, slices: int, micro_batch: int, *, checkpointed: bool) -> int:
    """Bytes that a process holds at most while `micro_batch` stacks of `slices` slices train."""
    width, depth, _, _ = shape_of(numbers.size)
    pictures = micro_batch * slices * numbers.alone
    pixels = numbers.canvas[0] * numbers.canvas[1]
    grid = pixels // PATCH_SIZE**2
    tokens = pictures * grid
    blocks = [block_values(numbers.size, grid, block) for block in range(depth)]
    passing = max(_passing_values(numbers.size, grid, block) for block in range(depth))
    kept = depth * width if checkpointed else sum(blocks)
    decoder = (
        micro_batch
        * slices
        * ((DECODER_PIXEL + DECODER_PASSING) * pixels + LOGIT_COPIES * numbers.classes * numbers.tile_side**2)
    )
    # Either the decoder's gradient is on its way, or a block's, which a checkpointed one makes anew.
    on_the_way = max(decoder, tokens * (passing + (max(blocks) if checkpointed else 0)))
    embeddings = tokens * (width + 3 * EMBEDDING_CHANNELS)
    values = tokens * kept + embeddings + on_the_way
    values += FROZEN_COPIES * frozen_values(numbers.size) + TRAINED_COPIES * trained_values(
        numbers.size, numbers.classes
    )
    return PROCESS_BYTES + FLOAT * values


def block_values(size: str, grid: int, block: int) -> int:
    """Values that block number `block` keeps of one token for its gradient, `grid` tokens being a picture.

    Of D channels each: 4 in the two adapters, 1 for each of the three other norms and FacT, 5 in attention (three
    projections, scaled queries and keys), 4 in the perceptron: 16. Five of each adapter's own channels. Nine of FacT's
    rank, and the norms' 8 figures. The attention's weights, a value for each head and key.
    """
    width, _, _, _ = shape_of(size)
    return 16 * width + 10 * adapter_channels(width) + 9 * RANK + 8 + _scores(size, grid, block)


def trained_values(size: str, classes: int) -> int:
    """Trained parameters: adapters, FacT and decoder."""
    width, depth, _, _ = shape_of(size)
    narrow = adapter_channels(width)
    adapter = 2 * width + 2 * width * narrow + 3 * narrow**2 + narrow
    return depth * (2 * adapter + 2 * RANK**2) + 2 * width * RANK + DECODER + DECODER_CLASS * classes


def adapter_channels(width: int) -> int:
    """Channels of the adapters of an encoder of `width` channels: 384, scaled with encoders narrower than 768."""
    return min(BOTTLENECK, BOTTLENECK * width // PUBLISHED_WIDTH)


def _scores(size: str, grid: int, block: int) -> int:
    """Heads times keys of one token; the first blocks are taken for those with windows, whichever they are."""
    width, depth, window, everywhere = shape_of(size)
    heads = 16 if size == "vit_h" else max(width // 64, 1)
    return heads * (grid if block >= depth - everywhere else min(grid, window**2))


def _passing_values(size: str, grid: int, block: int) -> int:
    width, _, _, _ = shape_of(size)
    return PASSING_SCORES * _scores(size, grid, block) + PASSING_WIDTHS * width


def frozen_values(size: str) -> int:
    """Values of an encoder's weights, positions left out."""
    width, depth, _, _ = shape_of(size)
    return 12 * depth * width**2 + (3 * PATCH_SIZE**2 + EMBEDDING_CHANNELS) * width + 9 * EMBEDDING_CHANNELS**2
