"""Read SAM checkpoints of other projects: tensors only, under SAM's own key names, float32."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from samunet.errors import UserError, some

PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
# Prefixes that training frameworks add to SAM's names (DataParallel, micro-sam, MedSAM, Lightning), in any number.
_WRAPPERS = re.compile(r"^(?:(?:module|model|sam|net)\.)+")
# Keys under which training files store the weights, next to optimiser and epoch.
_NESTS = ("model", "state_dict", "model_state", "model_state_dict")
_WHOLE = "A checkpoint must be a whole .pth or .safetensors file of tensors."


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The tensors of a SAM checkpoint by SAM's names (image_encoder., prompt_encoder., mask_decoder.), float32, CPU.

    Wrappers' prefixes are removed, weights under `model` or `state_dict` are found, a bare image encoder gets its
    prefix; other tensors are left out. No code in the file is run. The tensors may be memory-mapped, so that reading
    only their shapes is cheap.

    Raises:
        UserError: unreadable, truncated, not a file of tensors, one without an image encoder of SAM, or one whose
            weights are quantised.
    """
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    found = _sam_tensors(content)
    if strange := [f"{key} of {tensor.dtype}" for key, tensor in found.items() if not tensor.is_floating_point()]:
        raise UserError("A checkpoint's weights must be floating-point numbers.", where=path, found=some(strange),
                        mend="Save them as float32, float16 or bfloat16.")
    state = {key: tensor.float() for key, tensor in found.items()}
    if "image_encoder.pos_embed" not in state:
        keys = ", ".join(map(str, list(content)[:3])) or "nothing"
        raise UserError("A checkpoint must have SAM's key names.", where=path,
                        found=f"{len(content)} entries ({keys}, ...)",
                        mend="Use a SAM-format ViT file, with keys such as image_encoder.pos_embed.")
    return state


def family_in_file(path: Path) -> str | None:
    """The `family` that a safetensors file's metadata name, else None."""
    if path.suffix != ".safetensors":
        return None
    with safe_open(path, "pt") as file:
        return (file.metadata() or {}).get("family")


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping, it has keys() alone
    except Exception as fault:
        raise _unreadable(path, fault) from fault


def _pickled(path: Path) -> Mapping[Any, Any]:
    try:
        with open(path, "rb") as stream:
            is_archive = stream.read(4) == b"PK\x03\x04"
        # Only archives of PyTorch 1.6 and later, such as SAM's, can be memory-mapped.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except Exception as fault:
        raise _unreadable(path, fault) from fault
    return content if isinstance(content, Mapping) else {type(content).__name__: content}


def _unreadable(path: Path, fault: Exception) -> UserError:
    if isinstance(fault, OSError):
        return UserError(_WHOLE, where=path, found=fault.strerror or str(fault), mend="Make the file readable.")
    start = path.read_bytes()[:40] if path.stat().st_size < 2**20 else b""
    if path.stat().st_size == 0:
        return UserError(_WHOLE, where=path, found="an empty file", mend="Download the file again.")
    if start and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        return UserError(_WHOLE, where=path, found=f"a text that begins {start.decode()!r}",
                         mend="Download the file itself, not a web page or a pointer to it.")
    text = str(fault)
    if foreign := re.search(r"(?:Unsupported global: GLOBAL|Unsupported class|unsupported GLOBAL) (\S+)", text):
        return UserError("A checkpoint must hold only tensors; code in a file is never run.", where=path,
                         found=f"a Python object, {foreign[1]}",
                         mend="If you trust the file, save only its weights: torch.save(model.state_dict(), path).")
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(fault).__name__)
    return UserError(_WHOLE, where=path, found=f"{path.stat().st_size} bytes that cannot be read: {line[:200]}",
                     mend="Download the file again.")


def _sam_tensors(content: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors of SAM's parts by SAM's names, wherever the file stores them; empty if it has no image encoder."""
    for place in (content, *(content[nest] for nest in _NESTS if isinstance(content.get(nest), Mapping))):
        named = {_WRAPPERS.sub("", key): value for key, value in place.items()
                 if isinstance(key, str) and isinstance(value, Tensor)}
        if "pos_embed" in named and "neck.0.weight" in named:
            named = {f"image_encoder.{key}": value for key, value in named.items()}
        if "image_encoder.pos_embed" in named:
            return {key: value for key, value in named.items() if key.startswith(PARTS)}
    return {}
