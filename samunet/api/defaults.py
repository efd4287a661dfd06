"""What a call uses where nothing is said: folders, device, number of processes, and the notice of an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from samunet.console import say_once

if TYPE_CHECKING:
    from samunet.planning.encoder_spec import EncoderSpec

Folder = str | Path | None


def default_device() -> str:
    """`cuda` where PyTorch has one, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def processes(workers: int | None) -> int:
    """The number of processes for cases: `workers`, or all processors up to 8 for None.

    Raises:
        UserError: a number below 1.
    """
    from samunet.errors import UserError
    from samunet.workers import default_workers

    if workers is None:
        return default_workers()
    if workers < 1:
        raise UserError("The number of processes must be 1 or more.", where="workers", found=str(workers))
    return workers


def announced(encoder: str) -> EncoderSpec:
    """What planning must know of the encoder; prints a line, once, if its weights are random or have an owner.

    Raises:
        UserError: no such name or file, see `encoder_spec`.
    """
    from samunet.networks.checkpoints.encoders import announce, encoder_spec

    spec = encoder_spec(encoder)
    if line := announce(spec):
        say_once(line)
    return spec
