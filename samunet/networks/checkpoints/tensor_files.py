"""Safetensors files: written completely or not at all; every fault in reading is a message that names the file."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from samunet.errors import UserError
from samunet.files import whole_file

CHECKSUM = "crc32"  # a key of the metadata
RULE = "A checkpoint must be whole: a readable .safetensors file of finite numbers."
COPY_AGAIN = "Copy the file again, or train again."


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors, on any device, with `metadata` and a checksum over both.

    Without metadata there is no checksum, and equal tensors give equal bytes.
    """
    # safetensors refuses tensors that share memory, as tied weights do.
    separate = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    header = {**metadata, CHECKSUM: str(_checksum(separate, metadata))} if metadata else None
    with whole_file(path) as temporary:
        save_file(separate, temporary, metadata=header)


def read_tensors(path: Path, mend: str = COPY_AGAIN) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a file.

    Raises:
        UserError: it is missing, not a safetensors file, differs from its checksum (if it has one), or holds a number
            that is not finite.
    """
    try:
        with safe_open(path, framework="pt") as content:
            metadata: dict[str, str] = content.metadata() or {}
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError, ValueError, RuntimeError) as fault:
        raise UserError(RULE, where=path, found=str(fault), mend=mend) from fault
    checksum = metadata.pop(CHECKSUM, None)
    if checksum not in (None, str(_checksum(tensors, metadata))):
        raise UserError(RULE, where=path, found="other content than was written", mend=mend)
    if name := first_not_finite(tensors):
        raise UserError(RULE, where=path, found=f"{name} holds numbers that are not finite", mend=mend)
    return tensors, metadata


def first_not_finite(tensors: Mapping[str, Tensor]) -> str | None:
    """The name of the first tensor with a NaN or an infinity."""
    return next((name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())), None)


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> int:
    """CRC-32 over names, types, shapes and bytes of the tensors, and over the metadata."""
    checksum = zlib.crc32(repr(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        checksum = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), checksum)
        checksum = zlib.crc32(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data, checksum)
    return checksum
