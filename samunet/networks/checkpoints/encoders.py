"""Encoders by name or by file: their properties for planning, and the loaded, frozen encoder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from samunet.errors import UserError
from samunet.files import digest_of_file
from samunet.networks.checkpoints.released import (
    CHECKPOINT_ENDINGS,
    RELEASED_FILES,
    SAM_LICENCE,
    SHIPPED_ENCODER,
    checkpoints_folder,
    released_path,
    sha256_start,
    shipped_path,
)
from samunet.planning.encoder_spec import NAMED_ENCODERS, PATCH_SIZE, EncoderSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FAMILIES = ("sam", "medsam", "mini")


@dataclass(frozen=True)
class Encoder:
    """A loaded, frozen SAM image encoder in evaluation mode.

    `module` maps normalised images (B, 3, S, S) to (B, 256, S/16, S/16). `sam_state` is the whole checkpoint with
    SAM's key names, float32, for heads that start from its decoder. `digest` is the SHA-256 of all weights.
    """

    spec: EncoderSpec
    module: nn.Module
    sam_state: dict[str, Tensor]
    digest: str

    @property
    def device(self) -> torch.device:
        """The device of `module`."""
        return next(tensor.device for tensors in (self.module.parameters(), self.module.buffers())
                    for tensor in tensors)


def encoder_spec(name: str) -> EncoderSpec:
    """Properties of encoder `name` for planning: a name of NAMED_ENCODERS or a checkpoint's path, optionally `@family`.

    A file's family is the one in its metadata, else `medsam` if its name has that word, `mini` if it has that size,
    else `sam`.

    Raises:
        UserError: no such name or file, a file that is no SAM-format ViT, or one that does not match its released name.
    """
    base, family = _split(name)
    spec = NAMED_ENCODERS.get(base) or _spec_of_file(_file_of(base))
    # Another family gives other embeddings, so it must have other plans, caches and results.
    return spec if family in (None, spec.family) else replace(spec, id=f"{spec.id}-{family}", family=family)


def load_encoder(name: str, input_size: int, device: torch.device | str = "cpu", *, fast: bool = True) -> Encoder:
    """Load encoder `name` for square inputs of `input_size` pixels, frozen, on `device`.

    Absolute positions and the relative tables of global blocks are interpolated where the input size is not the
    encoder's own.

    Arguments:
        fast: whether matrix products on a CUDA card are in bfloat16 where it has them. Their weights are rounded to it,
            so training the encoder or adapters in it needs fast=False. A CPU always has float32.

    Raises:
        UserError: no such name or file, a file that does not hold the encoder's weights whole and finite, or does not
            match its released name, or an input size that is not a multiple of 16.
    """
    from samunet.networks.image_encoder import ImageEncoder, fast_dtype

    if input_size < PATCH_SIZE or input_size % PATCH_SIZE:
        raise UserError(f"An encoder's input size must be a multiple of {PATCH_SIZE} pixels.", where=name,
                        found=str(input_size), mend="Plan again; the plan's input_size was changed by hand.")
    spec, (base, _) = encoder_spec(name), _split(name)
    if base == "pixels":
        module, state, digest = _pixels()
    else:
        state = _state_of(base)
        module, digest = _module(base, spec, state, input_size), _digest(state)
    module.requires_grad_(False).eval().to(device)
    if fast and str(device).startswith("cuda") and isinstance(module, ImageEncoder):
        module.compute_in(fast_dtype(device))
    return Encoder(spec, module, state, digest)


def encoder_file(name: str) -> Path | None:
    """The file of encoder `name`, with or without `@family`: the path itself, else that name in the checkpoints folder.

    None if neither exists.
    """
    base, _ = _split(name)
    return next((path for path in (Path(base), checkpoints_folder() / base) if path.is_file()), None)


def announce(spec: EncoderSpec) -> str | None:
    """The line that a command prints once for its encoder: random weights, or the weights' owner; else None."""
    base = spec.id.removesuffix(f"-{spec.family}")
    if base == "untrained":
        return "encoder 'untrained': a mini SAM with random weights, a lower bound for comparison"
    if base in RELEASED_FILES:
        return f"encoder '{spec.id}': {SAM_LICENCE}"
    if spec.family in ("sam", "medsam"):
        return f"encoder '{spec.id}': weights from your file, under their owner's licence ({SAM_LICENCE})"
    return None


def _split(name: str) -> tuple[str, str | None]:
    """`vit_b@medsam` -> (`vit_b`, `medsam`); no checkpoint's file name ends like that."""
    base, _, family = name.rpartition("@")
    return (base, family) if base and family in FAMILIES else (name, None)


def _file_of(name: str) -> Path:
    """The checkpoint that `encoder_file` finds."""
    path = encoder_file(name)
    if path is None or path.suffix not in CHECKPOINT_ENDINGS:
        known = ", ".join(key for key in NAMED_ENCODERS if key != SHIPPED_ENCODER)
        raise UserError("The encoder must be a known name or a checkpoint file (.pth, .pt, .safetensors).",
                        where="--encoder",
                        found=name, mend=f"Choose one of {known}, or an existing path, either with "
                        f"{', '.join(f'@{family}' for family in FAMILIES)} to override how its input is normalised.")
    return path


def _spec_of_file(path: Path) -> EncoderSpec:
    from samunet.networks.checkpoints.files import family_in_file, read_checkpoint
    from samunet.networks.checkpoints.shapes import encoder_size, size_name

    size = encoder_size(read_checkpoint(path), path)
    digest = _released_digest(path)
    by_name = "medsam" if "medsam" in path.stem.lower() else ("mini" if size_name(size) == "mini" else "sam")
    family = family_in_file(path) or by_name
    if family not in FAMILIES:
        raise UserError(f"The family in a checkpoint's metadata must be one of {', '.join(FAMILIES)}.",
                        where=path,
                        found=family, mend="Write the file again with a known family.")
    return EncoderSpec(f"{path.stem}-{digest[:8]}", size_name(size), family, size.native_input_size)


def _state_of(base: str) -> dict[str, Tensor]:
    """The whole checkpoint of an encoder that has weights."""
    from samunet.networks.checkpoints.files import read_checkpoint
    from samunet.networks.checkpoints.tensor_files import first_not_finite
    from samunet.networks.checkpoints.untrained import untrained_state

    if base == "untrained":
        return untrained_state()
    path = _weights_path(base)
    if sha256_start(path.name):
        _released_digest(path)
    state = read_checkpoint(path)
    if name := first_not_finite(state):
        raise UserError("A checkpoint's weights must be finite numbers.", where=path,
                        found=f"NaN or infinity in {name}",
                        mend="Download the file again, or choose another --encoder.")
    return state


def _released_digest(path: Path) -> str:
    """SHA-256 of a checkpoint; a file with the name of one of Meta's must be that file.

    Raises:
        UserError: a file with such a name has another digest.
    """
    digest, start = digest_of_file(path), sha256_start(path.name)
    if start and not digest.startswith(start):
        raise UserError(f"A file named {path.name} must be Meta's, whose SHA-256 begins with {start}.", where=path,
                        found=f"SHA-256 {digest[:12]}...",
                        mend="Download it again with samunet_download_checkpoint, or rename it.")
    return digest


def _weights_path(base: str) -> Path:
    if base in RELEASED_FILES:
        return released_path(base)
    return shipped_path() if base in NAMED_ENCODERS else _file_of(base)


def _module(base: str, spec: EncoderSpec, state: Mapping[str, Tensor], input_size: int) -> nn.Module:
    from samunet.networks.checkpoints.shapes import encoder_size, encoder_weights, require_same_shapes, size_name
    from samunet.networks.sam import build_image_encoder

    path = Path(base) if base == "untrained" else _weights_path(base)
    size = encoder_size(state, path)
    if size_name(size) != spec.size:
        raise UserError(f"The checkpoint of encoder '{spec.id}' must hold a {spec.size}.", where=path,
                        found=size_name(size),
                        mend="Put the right file there, or pass this file's path with --encoder.")
    module = build_image_encoder(size, input_size)
    weights = encoder_weights(state, size, input_size)
    require_same_shapes(weights, module.state_dict(), path)
    module.load_state_dict(weights)
    return module


def _pixels() -> tuple[nn.Module, dict[str, Tensor], str]:
    """The `pixels` encoder, with the untrained decoder for heads that start from SAM's decoder."""
    from samunet.networks.checkpoints.untrained import untrained_state
    from samunet.networks.pixels import Pixels, pixels_digest

    decoder = {key: tensor for key, tensor in untrained_state().items() if not key.startswith("image_encoder.")}
    return Pixels(), decoder, pixels_digest()


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().numpy().data)
    return digest.hexdigest()
