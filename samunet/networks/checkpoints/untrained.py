"""The `untrained` encoder: a mini SAM with random weights from NumPy's PCG64, the same on every machine."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor

from samunet.networks.sam import ENCODER_SIZES, build_sam

SEED = 20230405  # the day on which Segment Anything was published
POSITION_SCALE = 0.5
RESIDUAL_DAMPING = 5.0


def untrained_state() -> dict[str, Tensor]:
    """State dict (SAM's key names, float32) of the untrained mini SAM.

    Each tensor has its own generator, keyed by (SEED, CRC-32 of its name), so that a tensor does not depend on the
    others. Normalisation weights are 1, biases 0; matrices and convolutions are normal with variance 1 / fan-in, which
    preserves the scale of signals, divided by RESIDUAL_DAMPING where they end a residual branch of the image encoder,
    so that 24 random branches do not outweigh the patch itself. Absolute positions have standard deviation
    POSITION_SCALE, relative ones 0.02; tokens and SAM's positional frequencies 1, as in PyTorch and SAM.
    """
    with torch.random.fork_rng(devices=[]):
        shapes = build_sam("mini", ENCODER_SIZES["mini"].native_input_size).state_dict()
    return {name: torch.from_numpy(_draw(name, tuple(tensor.shape))) for name, tensor in shapes.items()}


def _draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.random.default_rng([SEED, zlib.crc32(name.encode())]).standard_normal(shape, dtype=np.float32)
    return values * np.float32(_scale(name, shape)) if _is_random(name, shape) else np.full_like(
        values, 0.0 if name.endswith(".bias") else 1.0)


def _is_random(name: str, shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and not name.endswith(".bias")


def _scale(name: str, shape: tuple[int, ...]) -> float:
    """Standard deviation of tensor `name`."""
    if name.endswith("pos_embed"):
        return POSITION_SCALE
    if ".rel_pos_" in name:
        return 0.02
    if shape[0] == 1 or name.endswith(("mask_tokens.weight", "gaussian_matrix")):
        return 1.0
    # Transposed convolutions of kernel 2 and stride 2 touch each output once: their fan-in is the input channels.
    fan_in = shape[0] if "output_upscaling" in name else int(np.prod(shape[1:]))
    closes_branch = name.startswith("image_encoder.blocks") and name.endswith(("attn.proj.weight", "mlp.lin2.weight"))
    return fan_in**-0.5 / (RESIDUAL_DAMPING if closes_branch else 1.0)
