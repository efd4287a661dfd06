"""From a pretraining folder to the shipped files: half-precision weights with SAM's key names, and a card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from samunet.files import whole_file, write_json
from samunet.pretraining.log_lines import read_lines
from samunet.pretraining.pretrainer import LOG, Pretrainer, batch_shape

WEIGHTS, CARD = "mini.safetensors", "mini.json"


def export(pretrainer: Pretrainer, command: str) -> Path:
    """Write the averaged weights as float16, and their card; returns the path of the weights.

    Arguments:
        command: the command line that trained them.
    """
    folder = pretrainer.folder
    weights = {name: tensor.detach().cpu().half().contiguous() for name, tensor in sorted(pretrainer.average.items())}
    with whole_file(folder / WEIGHTS) as temporary:
        save_file(weights, temporary, metadata={"family": "mini"})
    write_json(folder / CARD, _card(pretrainer, command))
    return folder / WEIGHTS


def _card(pretrainer: Pretrainer, command: str) -> dict[str, Any]:
    recipe = pretrainer.recipe
    lines = read_lines(pretrainer.folder / LOG)
    images = sum(phase.steps * batch_shape(phase).images for phase in recipe.phases)
    return {
        "trained_on": f"{images} images of synthetic anatomies; no collected image",
        "command": command,
        "recipe": recipe.to_json(),
        "seed": recipe.seed,
        "steps": pretrainer.step,
        "hours": round(pretrainer.seconds / 3600, 2),
        "hardware": torch.cuda.get_device_name() if pretrainer.device.type == "cuda" else "CPU",
        "threads": sorted({line["threads"] for line in lines if "threads" in line}),
        "torch": torch.__version__,
        "validation": [line["validation"] for line in lines if "validation" in line][-1:],
        "licence": "Apache-2.0",
    }
