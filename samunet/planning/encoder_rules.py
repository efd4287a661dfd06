"""Rules for one encoder's inputs: input size, tile, channel composition, stack depth and batch.

All of them look at image sizes alone, never at labels, so that no plan knows anything of a validation case's answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from samunet.planning.encoder_spec import PATCH_SIZE, EncoderSpec
from samunet.planning.normalization_rules import are_colours
from samunet.planning.tiles import TileFrame

TILE_STEP = 0.5
COARSEST_TOKEN = 8
FINEST_TOKEN = 4
SMALL_INPUT = 512
LARGEST_TO_MEDIAN = 1.25
# Tiles along each axis at step 0.5, and the factor by which such a tile is shorter than the extent.
TILE_FACTORS = {1: 1.0, 2: 1.5, 3: 2.0}
STACK_DEPTH = 5
INPUT_STEP = 64  # pixels
SMALLEST_BATCH, LARGEST_BATCH = 2, 16
HEAD_ITERATIONS = 400
# The other half is for weights, optimiser, the library's workspace and what else runs on the device.
MEMORY_SHARE = 0.5
# AutoSAM's CNN head: the published form from this input size on, the small form below (see variants/cnn_head.py).
PUBLISHED_HEAD_INPUT = 512
PUBLISHED_HEAD_DEPTH, SMALL_HEAD_DEPTH = 4, 2
HEAD_TOP_WIDTH = 64
BYTES_PER_ACTIVATION = 2 * 4  # the float32 value and its gradient
# Float32 arrays of (classes, rows, columns) alive at once: logits, their gradient, probabilities, log-probabilities,
# targets and one product in the loss.
LOGIT_COPIES = 6

Extent = tuple[int, int]


def in_plane_extent(shapes: Sequence[tuple[int, int, int]]) -> Extent:
    """(rows, columns) that cover the images: for each axis the largest case, at most 1.25 times the median case.

    Arguments:
        shapes: (z, y, x) voxels of each case on the plan's grid.
    """
    sizes = np.asarray(shapes)[:, 1:]
    largest = np.minimum(sizes.max(axis=0), np.ceil(LARGEST_TO_MEDIAN * np.median(sizes, axis=0)))
    return int(largest[0]), int(largest[1])


def token_voxels(tile_side: float, input_size: int) -> float:
    """Voxels along an axis that one token (16 pixels of the encoder's input) covers."""
    return tile_side * PATCH_SIZE / input_size


def input_size_for(spec: EncoderSpec, extent: Extent) -> tuple[int, str]:
    """Side of the square input in pixels, and why."""
    native = spec.native_input_size
    voxels = token_voxels(max(extent), native)
    if spec.size == "mini" or native <= SMALL_INPUT:
        return native, f"native size of {spec.id}"
    extent_told = f"{voxels:.2g} voxels of the {max(extent)}-voxel extent"
    if voxels < FINEST_TOKEN:
        return SMALL_INPUT, (
            f"at {native} px a token would cover {extent_told}, finer than {FINEST_TOKEN}; {SMALL_INPUT} px costs less"
        )
    return native, f"native size; a token covers {extent_told}, not under {FINEST_TOKEN}"


def stack_input_size_for(input_size: int, tile: Extent) -> tuple[int, str]:
    """Side of the square input of 3D adapters in pixels, and why.

    They are trained with the encoder in the loop, whose time goes with the square of this side, and their decoder
    answers at each pixel. So a small tile need not be magnified for them as far as for a frozen encoder.
    """
    sides = range(INPUT_STEP, input_size, INPUT_STEP)
    side = next((side for side in sides if token_voxels(max(tile), side) <= COARSEST_TOKEN), input_size)
    told = f"a token covers {token_voxels(max(tile), side):.2g} voxels of the tile"
    if side == input_size:
        return side, f"input_size; {told}"
    return side, f"the least multiple of {INPUT_STEP} px at which {told}, at most {COARSEST_TOKEN}"


def canvas_for(tile: Extent, input_size: int) -> Extent:
    """Rows and columns in pixels of the part of the square input that a tile covers, in whole tokens."""
    rows, columns = (math.ceil(round(side * input_size / max(tile)) / PATCH_SIZE) * PATCH_SIZE for side in tile)
    return max(rows, PATCH_SIZE), max(columns, PATCH_SIZE)


def tile_for(extent: Extent, input_size: int) -> tuple[Extent, str]:
    """(rows, columns) of a tile, and why: the fewest tiles an axis (1 to 3) whose tokens cover at most 8 voxels."""
    for count, factor in TILE_FACTORS.items():
        rows, columns = (max(math.ceil(side / factor), 1) for side in extent)
        voxels = token_voxels(max(rows, columns), input_size)
        if voxels <= COARSEST_TOKEN or count == max(TILE_FACTORS):
            break
    comparison = "at most" if voxels <= COARSEST_TOKEN else "more tiles would cost too much, else at most"
    return (rows, columns), (
        f"{count} tile{'s' if count > 1 else ''} an axis over the extent {extent[0]}x{extent[1]} "
        f"(largest case, at most {LARGEST_TO_MEDIAN:g} x the median); a token covers {voxels:.2g} voxels, "
        f"{comparison} {COARSEST_TOKEN}"
    )


def tiles_of(shapes: Sequence[tuple[int, int, int]], tile: Extent) -> int:
    """How many tiles all slices of the cases have; `shapes` are (z, y, x) voxels on the plan's grid."""
    return sum(shape[0] * len(TileFrame((shape[1], shape[2]), tile, TILE_STEP).starts) for shape in shapes)


def composition_for(
    channel_names: Sequence[str], spacing_mm: tuple[float, float, float], anisotropic: bool, depth: int
) -> tuple[str, str]:
    """How image channels and slices become the encoder's three input channels, and why."""
    if are_colours(channel_names):
        return "rgb", f"the channels {', '.join(channel_names)} are the colours of one image"
    if depth == 1:
        return "repeat", "2D images have no neighbouring slices"
    spacing = f"slice spacing {spacing_mm[0]:g} mm against {max(spacing_mm[1:]):g} mm in-plane"
    if anisotropic:
        return "repeat", f"{spacing}: over 3 times, neighbouring slices show other anatomy"
    return "neighbours", f"{spacing}: at most 3 times, neighbouring slices show the same anatomy"


def stack_depth_for(depth: int) -> tuple[int, str]:
    """Consecutive slices that a 3D variant sees together (odd), and why."""
    if depth == 1:
        return 1, "2D images"
    largest_odd = depth if depth % 2 else depth - 1
    return min(
        STACK_DEPTH, largest_odd
    ), f"{STACK_DEPTH}, at most the largest odd number up to the median depth {depth}"


@dataclass(frozen=True)
class HeadMemory:
    """Bytes that training AutoSAM's CNN head takes for each tile: float32 activations and logits, with gradients."""

    activations: int
    logits: int

    @property
    def total(self) -> int:
        """Bytes of both."""
        return self.activations + self.logits


def head_memory(input_size: int, tile: Extent, embedding_channels: int, classes: int) -> HeadMemory:
    """The memory model behind the batch size, layer by layer of the CNN head (see networks/cnn_head.py)."""
    depth = PUBLISHED_HEAD_DEPTH if input_size >= PUBLISHED_HEAD_INPUT else SMALL_HEAD_DEPTH
    side = input_size // PATCH_SIZE
    width = HEAD_TOP_WIDTH * 2**depth
    values = (embedding_channels + 2 * width) * side**2
    for block in range(depth):
        if block >= depth - 2:
            values += 2 * width * side**2
            side *= 2
            values += width // 2 * side**2
        else:
            values += (width + width // 2) * side**2
        width //= 2
    values += (width + classes) * side**2
    return HeadMemory(values * BYTES_PER_ACTIVATION, max(tile) ** 2 * classes * 4 * LOGIT_COPIES)


def batch_size_for(memory: HeadMemory, memory_target_gb: float) -> tuple[int, str]:
    """Tiles in a batch, and why."""
    fitting = int(memory_target_gb * 1e9 * MEMORY_SHARE / memory.total)
    size = min(max(fitting, SMALLEST_BATCH), LARGEST_BATCH)
    return size, (
        f"a tile takes {memory.total / 1e6:.0f} MB in the CNN head, so {fitting} fit {MEMORY_SHARE:.0%} of "
        f"{memory_target_gb:g} GB; kept within {SMALLEST_BATCH} and {LARGEST_BATCH}"
    )
