"""Rules for one encoder's cache: its number type, its bytes, and how many pictures of augmented views it may hold.

What the encoder costs is counted, not measured, so that plans do not depend on the machine that made them.
"""

from __future__ import annotations

import re

from samunet.planning.encoder_spec import EMBEDDING_CHANNELS, PATCH_SIZE

# What a plan's `cache_dtype` may be, and the reason that is written beside it.
CACHE_DTYPES = {
    "float16": "half the bytes of float32; 3 decimal digits are enough for normalised embeddings",
    "int8": "given by --cache_dtype; half the bytes of float16, one scale for each channel of an image",
}
DEFAULT_CACHE_DTYPE = "float16"
SCALE_BYTES = 4

# What encoding one run's views may take: time on the reference machine (2 cores), and disk.
VIEW_SECONDS = 30
REFERENCE_GFLOPS = 100
VIEW_GB = 1.0
# The count is an estimate and is not given a false precision.
ROUNDED_TO = 100
# Width, blocks, side of the attention windows in tokens (0: none) and blocks that attend globally. `pixels` counts as
# the encoder that it is compared with, so that heads on either see the same views.
ENCODER_SHAPES = {
    "mini": (192, 12, 0, 12),
    "pixels": (192, 12, 0, 12),
    "vit_b": (768, 12, 14, 4),
    "vit_l": (1024, 24, 14, 4),
    "vit_h": (1280, 32, 14, 4),
}
_OTHER_SIZE = re.compile(r"vit_(\d+)x(\d+)")


def bytes_per_picture(input_size: int, cache_dtype: str) -> int:
    """Bytes of one picture's embedding in the cache: 256 channels of (S/16)^2 values; int8 has a scale for each
    channel.
    """
    values = EMBEDDING_CHANNELS * (input_size // PATCH_SIZE) ** 2
    return 2 * values if cache_dtype == "float16" else values + SCALE_BYTES * EMBEDDING_CHANNELS


def cache_bytes_for(tiles: int, cases: int, input_size: int, channels_alone: int, cache_dtype: str) -> tuple[int, str]:
    """Bytes of the embeddings of the `tiles` of all clean cases, and why."""
    side = input_size // PATCH_SIZE
    told = f"{tiles} tiles of {cases} cases x {EMBEDDING_CHANNELS * channels_alone} channels x "
    told += f"{side}x{side} x 2 bytes" if cache_dtype == "float16" else f"({side}x{side} + {SCALE_BYTES}) bytes"
    return tiles * channels_alone * bytes_per_picture(input_size, cache_dtype), told


def shape_of(size: str) -> tuple[int, int, int, int]:
    """Width, blocks, side of attention windows (0: none), blocks that attend globally; unnamed sizes count as all
    global.
    """
    other = _OTHER_SIZE.fullmatch(size)
    return (int(other[1]), int(other[2]), 0, int(other[2])) if other else ENCODER_SHAPES[size]


def encoder_flops(size: str, input_size: int) -> float:
    """Floating point operations (two for each multiply-add) of encoding one picture.

    Per block of width D: 12 D^2 multiply-adds a token for the projections and the perceptron, 2 D a token and key for
    attention; keys are all tokens, or those of a window. Then the patch embedding and the neck's two convolutions. The
    relative positions and normalisations, under 2 %, are left out. An unnamed size counts as attending globally.
    """
    width, depth, window, global_blocks = shape_of(size)
    tokens = (input_size // PATCH_SIZE) ** 2
    keys = global_blocks * tokens + (depth - global_blocks) * window**2
    each = depth * 12 * width**2 + 2 * width * keys
    each += 3 * PATCH_SIZE**2 * width + EMBEDDING_CHANNELS * width + 9 * EMBEDDING_CHANNELS**2
    return 2.0 * tokens * each


def view_pictures_for(size: str, input_size: int, cache_dtype: str) -> tuple[int, str]:
    """How many pictures of augmented views may be encoded for one run, and why: what fits its time and its disk."""
    flops = encoder_flops(size, input_size)
    in_time = VIEW_SECONDS * REFERENCE_GFLOPS * 1e9 / flops
    on_disk = VIEW_GB * 1e9 / bytes_per_picture(input_size, cache_dtype)
    return int(min(in_time, on_disk)) // ROUNDED_TO * ROUNDED_TO, (
        f"{VIEW_SECONDS} s at {REFERENCE_GFLOPS} GFLOP/s (2 cores) encode {in_time:.0f} images of {flops / 1e9:.3g} "
        "GFLOP, "
        f"{VIEW_GB:g} GB holds {on_disk:.0f}; the smaller, in whole hundreds"
    )
