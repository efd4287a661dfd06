"""The saved state of a pretraining run, from which it can continue: one file, so that its parts always match."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta
from torch import Tensor

from samunet.errors import UserError
from samunet.networks.checkpoints.tensor_files import read_tensors, write_tensors
from samunet.pretraining.recipe import Recipe
from samunet.schema import decode

STATE = "state.safetensors"
SCALARS = "pretraining"  # key of its metadata
MEND = "Remove it to start again, or choose another output folder."


@dataclass(frozen=True)
class _Scalars:
    """The part of a state that is not tensors."""

    step: Annotated[int, Meta(ge=0)]
    seconds: float
    recipe: dict[str, Any]


@dataclass(frozen=True)
class State:
    """A saved state.

    Arguments:
        step: number of finished steps.
        seconds: training time.
        tensors: names with prefixes `sam/`, `extra/`, `average/` and `optimizer/<index>/`.
    """

    step: int
    seconds: float
    tensors: dict[str, Tensor]

    def moments(self) -> dict[int, dict[str, Tensor]]:
        """The optimiser's tensors by parameter, as its state dict has them."""
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in part_of(self.tensors, "optimizer/").items():
            index, _, key = name.partition("/")
            moments.setdefault(int(index), {})[key] = tensor
        return moments


def save_state(path: Path, tensors: dict[str, Tensor], step: int, seconds: float, recipe: Recipe) -> None:
    """Write `tensors` and the scalars into one file."""
    scalars = {"step": step, "seconds": seconds, "recipe": _fixed_recipe(recipe, step)}
    write_tensors(path, tensors, {SCALARS: json.dumps(scalars)})


def load_state(path: Path, recipe: Recipe) -> State:
    """Read the state in `path`, which must belong to `recipe`.

    Raises:
        UserError: a damaged file, another recipe, or fewer steps than the run has finished.
    """
    tensors, metadata = read_tensors(path, MEND)
    scalars = read_scalars(metadata, path, MEND)
    if scalars["step"] > recipe.steps:
        raise UserError("A continued run must have at least the steps that it has finished.", where=path,
                        found=f"{scalars['step']} finished, {recipe.steps} requested",
                        mend="Request more steps, or choose another folder.")
    wanted = _fixed_recipe(recipe, scalars["step"])
    if "phases" not in scalars["recipe"]:  # earlier versions did not save them
        del wanted["phases"]
    if scalars["recipe"] != wanted:
        different = [f"{key}: saved {scalars['recipe'].get(key)}, requested {value}" for key, value in wanted.items()
                     if scalars["recipe"].get(key) != value]
        raise UserError("A continued run must have the recipe that it began with.", where=path,
                        found="; ".join(different), mend="Choose another output folder, or the same recipe.")
    return State(scalars["step"], scalars["seconds"], tensors)


def read_scalars(metadata: Mapping[str, str], path: Path, mend: str) -> dict[str, Any]:
    """The scalars of the state in file `path`.

    Raises:
        UserError: the file is not the state of a pretraining run.
    """
    rule = "The state of a pretraining run must be valid."
    try:
        scalars: dict[str, Any] = json.loads(metadata.get(SCALARS, "null"))
    except (ValueError, RecursionError) as fault:
        raise UserError(rule, where=path, found=str(fault)[:300], mend=mend) from fault
    decode(_Scalars, scalars, rule=rule, where=path, mend=mend)
    return scalars


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _fixed_recipe(recipe: Recipe, steps: int) -> dict[str, Any]:
    """What must stay equal when a run continues after `steps`: the recipe, with the finished part of its phases."""
    each = map(recipe.phase_at, range(steps))
    done = [f"{size}:{sum(1 for _ in same)}:{families}:{part}"
            for (size, families, part), same in groupby(each,
                                                        key=lambda phase: (phase.size, phase.families, phase.part))]
    return recipe.to_json() | {"phases": " ".join(done)}
