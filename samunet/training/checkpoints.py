"""A run's state in one safetensors file: weights, the optimiser's tensors, and scalars as JSON in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from samunet.console import say
from samunet.errors import UserError
from samunet.files import whole_file
from samunet.variants.base import Variant

LATEST = "checkpoint_latest.safetensors"
NAMED = 5  # tensors that a message names


@dataclass(frozen=True)
class Progress:
    """How far a run is: finished iterations, and seconds spent on them over all its sittings."""

    iteration: int
    seconds: float


def save_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a trained variant's state; equal tensors give equal bytes."""
    with whole_file(path) as temporary:
        save_file(_separate(state), temporary)


def save_latest(
    path: Path, variant: Variant, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, progress: Progress
) -> None:
    """Write all that is needed to go on exactly. One file, so that no two parts of it can disagree."""
    tensors = {f"variant/{name}": tensor for name, tensor in variant.state().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value).cpu() for name, value in values.items()}
    scalars = {"iteration": progress.iteration, "seconds": progress.seconds, "scaler": scaler.state_dict()}
    with whole_file(path) as temporary:
        save_file(_separate(tensors), temporary, metadata={"training": json.dumps(scalars)})


def load_latest(
    path: Path, variant: Variant, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> Progress:
    """Put back what `save_latest` wrote. The optimiser's groups stay as they were built from the settings."""
    state: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor]] = {}
    with safe_open(path, framework="pt") as content:
        scalars: dict[str, Any] = json.loads(content.metadata()["training"])
        for key in content.keys():  # noqa: SIM118 - not a mapping
            part, _, name = key.partition("/")
            if part == "variant":
                state[name] = content.get_tensor(key)
            else:
                index, _, name = name.partition("/")
                moments.setdefault(int(index), {})[name] = content.get_tensor(key)
    variant.load_state(state)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    scaler.load_state_dict(scalars["scaler"])
    return Progress(scalars["iteration"], scalars["seconds"])


def start_from(path: Path, variant: Variant) -> None:
    """Take from a checkpoint every tensor that the variant has under the same name and in the same shape.

    Raises:
        UserError: no such file, another format, or nothing in it fits.
    """
    try:
        given = load_file(path)
    except (OSError, SafetensorError) as fault:
        raise UserError("Pretrained weights must be a readable .safetensors file.", where=path, found=str(fault)) from fault
    own = variant.state()
    fitting = {name: given[name] for name in own if name in given and given[name].shape == own[name].shape}
    if not fitting:
        raise UserError("Pretrained weights must fit the variant.", where=path,
                        found=f"no tensor has the name and shape of one of the variant's {len(own)}",
                        mend="Give a checkpoint_final.safetensors of the same variant.")
    say(f"starting from {path}: {len(fitting)} of {len(own)} tensors taken")
    if missing := [name for name in own if name not in given]:
        say(f"not in that file, so new: {_some(missing)}")
    if reshaped := [name for name in own if name in given and name not in fitting]:
        say("of another shape in that file, so new: " + _some(
            [f"{name} ({_sides(given[name])} there, {_sides(own[name])} here)" for name in reshaped]))
    variant.load_state({**own, **fitting})


def _some(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _sides(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))


def _separate(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory, as tied weights do.
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}
