"""What a pretraining run left in its folder: the state that it goes on from, and the lines of its log."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta
from safetensors import SafetensorError, safe_open
from torch import Tensor

from samunet.errors import UserError
from samunet.schema import decode

METADATA = "pretraining"
RULE, MEND = "The state of a run that goes on must be whole.", "Remove the file to begin again, or choose another output folder."


@dataclass(frozen=True)
class Scalars:
    """What stands beside the tensors: steps done, seconds spent, and the recipe that they were done by."""

    step: Annotated[int, Meta(ge=0, le=10**9)]
    seconds: float
    recipe: dict[str, Any]


def read_state(path: Path) -> tuple[Scalars, dict[str, Tensor]]:
    """Scalars and tensors of a state file.

    Raises:
        UserError: it is damaged, or no state of a pretraining run.
    """
    try:
        with safe_open(path, framework="pt") as content:
            text = (content.metadata() or {}).get(METADATA, "null")
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118 - not a mapping
        scalars = json.loads(text)
    except (OSError, SafetensorError, ValueError, RecursionError) as fault:
        raise UserError(RULE, where=path, found=str(fault)[:300], mend=MEND) from fault
    return decode(Scalars, scalars, rule=RULE, where=path, mend=MEND), tensors


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log up to the first that cannot be read: the half line of a killed process is always the last."""
    lines: list[dict[str, Any]] = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            break
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            break
        lines.append(line)
    return lines
