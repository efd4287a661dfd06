"""samunet_info: installed versions, data folders, hardware, encoders and variants."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import samunet
from samunet.cli.main import command
from samunet.cli.options import command_parser
from samunet.console import result
from samunet.networks.checkpoints.released import (
    RELEASED_FILES,
    SHIPPED_ENCODER,
    checkpoint_files,
    checkpoints_folder,
    shipped_card,
)
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.variants.registry import listed

PACKAGES = ("torch", "torchvision", "segment-anything", "numpy", "scipy", "scikit-image", "SimpleITK", "blosc2",
            "batchgenerators", "safetensors", "nnunetv2")


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    parser = command_parser(
        "samunet_info",
        "Print the installed versions, data folders, hardware, encoders and variants.",
        "samunet_info --json",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command with `arguments`, by default those of the process."""
    options = parser().parse_args(arguments)
    content = gather()
    result(json.dumps(content, indent=2) if options.json else as_text(content))


def gather() -> dict[str, Any]:
    """Everything the command prints, as built-in types."""
    return {
        "samunet": samunet.__version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "paths": _paths(),
        "encoders": _encoders(),
        "hardware": _hardware(),
        "variants": listed(),
    }


def as_text(content: dict[str, Any]) -> str:
    """The content of `gather` as text."""
    lines = [f"samunet {content['samunet']}, Python {content['python']}"]
    installed = [f"{name} {version}" for name, version in content["packages"].items() if version]
    missing = [name for name, version in content["packages"].items() if not version]
    half = (len(installed) + 1) // 2
    lines += ["packages  " + ", ".join(installed[:half]), "          " + ", ".join(installed[half:])]
    if missing:
        lines.append("          not installed: " + ", ".join(missing))
    for title in ("paths", "hardware", "encoders", "variants"):
        width = max(map(len, content[title]))
        for number, (name, text) in enumerate(content[title].items()):
            lines.append(f"{title if number == 0 else '':<10}{name:<{width}}  {text}")
    return "\n".join(lines)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _paths() -> dict[str, str]:
    """The folders of data and checkpoints."""
    from samunet.dataset.paths import resolve_paths

    found = resolve_paths()
    paths = {"samunet_raw": found.raw, "samunet_preprocessed": found.preprocessed, "samunet_results": found.results,
             "samunet_checkpoints": checkpoints_folder()}
    return {name: f"{folder}{'' if folder.is_dir() else ' (does not exist yet)'}" for name, folder in paths.items()}


def _encoders() -> dict[str, str]:
    """The named encoders and the checkpoint files found; a file is checked only when it is used."""
    card, folder = shipped_card(), checkpoints_folder()
    encoders = {
        "mini": f"{SHIPPED_ENCODER}, trained on {card['trained_on']}" if card
        else f"{SHIPPED_ENCODER}, not shipped with this installation",
        "untrained": "mini SAM with random weights, as a lower bound",
        "pixels": "no encoder: the pixel values themselves, as a baseline",
        ", ".join(RELEASED_FILES): "Meta's SAM; download with samunet_download_checkpoint",
    }
    encoders[DEFAULT_ENCODER] += " (default)"
    for path in checkpoint_files(folder):
        encoders[path.name] = f"{path.stat().st_size / 2**20:.0f} MiB in {folder}"
    return encoders


def _hardware() -> dict[str, str]:
    """Processors, memory and PyTorch's devices."""
    import torch

    from samunet.workers import default_workers

    hardware = {
        "system": f"{platform.system()} {platform.machine()}",
        "processors": f"{os.cpu_count()} ({default_workers()} used by default, {torch.get_num_threads()} torch "
                      "threads)",
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        hardware["memory"] = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB"
    for index in range(torch.cuda.device_count()):
        hardware[f"cuda:{index}"] = torch.cuda.get_device_name(index)
    if torch.backends.mps.is_available():
        hardware["mps"] = "available"
    return hardware
