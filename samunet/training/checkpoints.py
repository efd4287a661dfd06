"""A run's state in one safetensors file: weights, the optimiser's tensors, and scalars as JSON in the header."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from samunet.console import say
from samunet.errors import UserError
from samunet.files import digest_of_file
from samunet.inference.model_weights import read_weights
from samunet.networks.checkpoints.tensor_files import read_tensors, write_tensors
from samunet.variants.base import TrainedVariant, Variant
from samunet.variants.states import require_same

LATEST = "checkpoint_latest.safetensors"
SCALARS = "training"  # key of the metadata
NAMED = 5  # tensors that a message names


@dataclass(frozen=True)
class Progress:
    """Progress of a run: finished iterations, and the seconds that they took over all interrupted starts."""

    iteration: int
    seconds: float


def save_weights(path: Path, state: Mapping[str, Tensor]) -> str:
    """Write a trained variant's state; equal tensors give equal bytes. Returns the file's SHA-256, for run.json."""
    write_tensors(path, state)
    return digest_of_file(path)


def save_latest(
    path: Path, variant: TrainedVariant, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler,
    progress: Progress,
) -> None:
    """Write all that is needed to resume exactly. One file, so that no two parts of it can disagree."""
    tensors = {f"variant/{name}": tensor for name, tensor in variant.training_state().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{name}": torch.as_tensor(value).cpu() for name, value in values.items()}
    scalars = {"iteration": progress.iteration, "seconds": progress.seconds, "scaler": scaler.state_dict()}
    write_tensors(path, tensors, {SCALARS: json.dumps(scalars)})


def load_latest(
    path: Path, variant: TrainedVariant, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> Progress:
    """Restore what `save_latest` wrote. The optimiser's groups stay as they were built from the settings.

    A file that is damaged, or of another variant, changes nothing: one line says so, and training starts again from the
    first iteration.
    """
    state: dict[str, Tensor] = {}
    moments: dict[int, dict[str, Tensor]] = {}
    try:
        tensors, metadata = read_tensors(path)
        for key, tensor in tensors.items():
            part, _, name = key.partition("/")
            if part == "variant":
                state[name] = tensor
            else:
                index, _, name = name.partition("/")
                moments.setdefault(int(index), {})[name] = tensor
        require_same(state, variant.training_state())
        scalars = json.loads(metadata[SCALARS])
        progress, scaling = Progress(scalars["iteration"], scalars["seconds"]), scalars["scaler"]
    except (UserError, KeyError, TypeError, ValueError) as fault:
        found = getattr(fault, "found", fault)
        say(f"{path} cannot be used, so training starts again from the first iteration: {found}")
        return Progress(0, 0.0)
    variant.load_training_state(state)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    scaler.load_state_dict(scaling)
    return progress


def start_from(path: Path, variant: Variant) -> None:
    """Take from a checkpoint every tensor that the variant's network has under the same name and in the same shape.

    Raises:
        UserError: no such file, another format, damaged, or nothing in it fits.
    """
    given, own = read_weights(path), variant.state()
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
    variant.start_from(fitting)


def _some(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _sides(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))

