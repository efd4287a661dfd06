"""Encoders by name or file: which there are, what planning must know of them, and their weights."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samunet.errors import UserError
from samunet.files import digest_of_file
from samunet.planning.encoder_spec import PATCH_SIZE, EncoderSpec

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

DEFAULT_ENCODER = "untrained"
# Names that Meta's released files begin with (segment-anything's README).
RELEASED_PREFIX = {"vit_b": "sam_vit_b_01ec64", "vit_l": "sam_vit_l_0b3195", "vit_h": "sam_vit_h_4b8939"}
_EMBED_DIM_TO_SIZE = {192: "mini", 768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_NATIVE = {"mini": 256, "vit_b": 1024, "vit_l": 1024, "vit_h": 1024}


@dataclass(frozen=True)
class Encoder:
    """A loaded, frozen SAM image encoder in evaluation mode.

    `module` maps normalised pictures (B, 3, S, S) to (B, 256, S/16, S/16). `sam_state` is the whole checkpoint with
    SAM's key names, for heads that start from its decoder. `digest` is the SHA-256 of all weights.
    """

    spec: EncoderSpec
    module: nn.Module
    sam_state: dict[str, Tensor]
    digest: str


def checkpoints_folder() -> Path:
    """Where checkpoints are looked for: `samunet_checkpoints`, else samunet_data/checkpoints under the current folder."""
    return Path(os.environ.get("samunet_checkpoints", Path("samunet_data") / "checkpoints"))


def encoder_spec(name: str) -> EncoderSpec:
    """What planning must know of encoder `name`: `untrained`, `vit_b`, `vit_l`, `vit_h`, or a checkpoint's path.

    Raises:
        UserError: no such name or file, or a file that is no SAM-format ViT.
    """
    if name == DEFAULT_ENCODER:
        return EncoderSpec(name, "mini", "mini", _NATIVE["mini"])
    if name in RELEASED_PREFIX:
        return EncoderSpec(name, name, "sam", _NATIVE[name])
    path = _checkpoint_path(name)
    state = _read_checkpoint(path)
    size = _detect_size(state, path)
    family = "medsam" if "medsam" in path.stem.lower() else ("mini" if size == "mini" else "sam")
    native = state["image_encoder.pos_embed"].shape[1] * PATCH_SIZE
    return EncoderSpec(f"{path.stem}-{digest_of_file(path)[:8]}", size, family, native)


def load_encoder(name: str, input_size: int, device: torch.device | str = "cpu") -> Encoder:
    """Load encoder `name` for square inputs of `input_size` pixels, frozen, on `device`.

    Absolute positions are interpolated bilinearly where the input size is not the encoder's own; segment-anything's
    attention interpolates the relative tables itself.

    Raises:
        UserError: no such name or file, or a file that does not hold the encoder's weights whole.
    """
    from samunet.networks.sam import build_image_encoder

    spec = encoder_spec(name)
    if name == DEFAULT_ENCODER:
        from samunet.networks.untrained import untrained_state

        path: Path | None = None
        state = untrained_state()
    else:
        path = _checkpoint_path(name)
        state = _read_checkpoint(path)
    if path is not None and (found := _detect_size(state, path)) != spec.size:
        raise UserError(f"Checkpoint '{name}' must hold a {spec.size} encoder.", where=path, found=found)
    prefix = "image_encoder."
    part = {key[len(prefix) :]: tensor.float() for key, tensor in state.items() if key.startswith(prefix)}
    part["pos_embed"] = _resized_positions(part["pos_embed"], input_size // PATCH_SIZE)
    module = build_image_encoder(spec.size, input_size)
    _resize_tables(part, module)
    try:
        module.load_state_dict(part)
    except RuntimeError as fault:
        raise UserError("A checkpoint must hold the encoder's weights whole.", where=path or name,
                        found=str(fault).splitlines()[1].strip()) from fault
    module.requires_grad_(False).eval().to(device)
    return Encoder(spec, module, state, _digest(state))


def announce(spec: EncoderSpec) -> str | None:
    """The line that every command shows which uses the untrained encoder, else None."""
    if spec.id != DEFAULT_ENCODER:
        return None
    return "encoder 'untrained': a mini SAM with random weights, the default until trained ones ship"


def _checkpoint_path(name: str) -> Path:
    if name in RELEASED_PREFIX:
        found = sorted(checkpoints_folder().glob(f"{RELEASED_PREFIX[name]}*"))
        if not found:
            raise UserError(
                f"Encoder '{name}' needs Meta's released checkpoint.",
                where=checkpoints_folder(),
                found=f"no file {RELEASED_PREFIX[name]}.pth",
                mend="Put it there, or set samunet_checkpoints to the folder that holds it.",
            )
        return found[0]
    path = Path(name)
    if path.suffix not in (".pth", ".pt", ".safetensors") or not path.is_file():
        known = ", ".join([DEFAULT_ENCODER, *RELEASED_PREFIX])
        raise UserError("The encoder must be a known name or a checkpoint file (.pth, .safetensors).", where="--encoder",
                        found=name, mend=f"Choose one of {known}, or give a path that exists.")
    return path


def _read_checkpoint(path: Path) -> dict[str, Tensor]:
    """State dict of a checkpoint; nothing in it is run (`weights_only`)."""
    import pickle

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, SafetensorError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile, ValueError) as fault:
        raise UserError("A checkpoint must be a whole .pth or .safetensors file of tensors.", where=path,
                        found=str(fault).splitlines()[0], mend="Fetch the file again.") from fault
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)} if isinstance(
        state, Mapping) else {}


def _detect_size(state: Mapping[str, Tensor], path: Path) -> str:
    position = state.get("image_encoder.pos_embed")
    size = _EMBED_DIM_TO_SIZE.get(position.shape[-1]) if position is not None and position.ndim == 4 else None
    if size is None:
        keys = ", ".join(list(state)[:3]) or "no tensors"
        raise UserError("A checkpoint must have SAM's key names and a known encoder width.", where=path,
                        found=f"{len(state)} tensors ({keys} ...)",
                        mend="Use a SAM-format ViT file, with keys such as image_encoder.pos_embed.")
    return size


def _resized_positions(positions: Tensor, grid: int) -> Tensor:
    """(1, G, G, D) -> (1, grid, grid, D), bilinear without aligned corners."""
    from torch.nn.functional import interpolate

    if positions.shape[1] == grid:
        return positions
    resized = interpolate(positions.permute(0, 3, 1, 2), (grid, grid), mode="bilinear", align_corners=False)
    return resized.permute(0, 2, 3, 1)


def _resize_tables(part: dict[str, Tensor], module: nn.Module) -> None:
    """Interpolate the relative position tables of global blocks to the module's lengths, as get_rel_pos does."""
    from torch.nn.functional import interpolate

    for name, parameter in module.state_dict().items():
        table = part.get(name)
        if ".rel_pos_" in name and table is not None and table.shape[0] != parameter.shape[0]:
            part[name] = interpolate(table.T[None], parameter.shape[0], mode="linear")[0].T.contiguous()


def _digest(state: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
