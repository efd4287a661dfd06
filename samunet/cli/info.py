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
from samunet.extensions import LOGGERS, SHIPPED_LOGGERS, extensions
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
    """Everything the command prints, as built-in types; documentation/reference/info.md names the keys."""
    return {
        "samunet": samunet.__version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "paths": _paths(),
        "encoders": _encoders(),
        "hardware": _hardware(),
        "variants": listed(),
        "readers": _readers(),
        "loggers": [*SHIPPED_LOGGERS, *extensions(LOGGERS, SHIPPED_LOGGERS)],
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
    for title, rows in _sections(content).items():
        width = max(map(len, rows))
        for number, (name, text) in enumerate(rows.items()):
            lines.append(f"{title if number == 0 else '':<10}{name:<{width}}  {text}")
    return "\n".join(lines)


def _sections(content: dict[str, Any]) -> dict[str, dict[str, str]]:
    """The rows of each section of the text."""
    hardware = content["hardware"]
    rows = {
        "system": f"{hardware['system']} {hardware['machine']}",
        "processors": f"{hardware['processors']} ({hardware['default_workers']} used by default, "
                      f"{hardware['torch_threads']} torch threads)",
    }
    if hardware["memory_bytes"] is not None:
        rows["memory"] = f"{hardware['memory_bytes'] / 2**30:.1f} GiB"
    return {
        "paths": {name: folder["path"] + ("" if folder["exists"] else " (does not exist yet)")
                  for name, folder in content["paths"].items()},
        "hardware": rows | hardware["devices"],
        "encoders": {name: encoder["description"] + (" (default)" if encoder["default"] else "")
                     for name, encoder in content["encoders"].items()},
        "variants": content["variants"],
    }


def _readers() -> list[str]:
    from samunet.dataset.io.readers import reader_names  # imports NumPy

    return reader_names()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _paths() -> dict[str, dict[str, Any]]:
    """The folders of data and checkpoints, by the names of their environment variables."""
    from samunet.dataset.paths import resolve_paths

    found = resolve_paths()
    paths = {"samunet_raw": found.raw, "samunet_preprocessed": found.preprocessed, "samunet_results": found.results,
             "samunet_checkpoints": checkpoints_folder()}
    return {name: {"path": str(folder), "exists": folder.is_dir()} for name, folder in paths.items()}


def _encoders() -> dict[str, dict[str, Any]]:
    """The named encoders and the checkpoint files found; a file is checked only when it is used."""
    card, folder = shipped_card(), checkpoints_folder()
    encoders = {
        "mini": f"{SHIPPED_ENCODER}, trained on {card['trained_on']}" if card
        else f"{SHIPPED_ENCODER}, not shipped with this installation",
        "untrained": "mini SAM with random weights, as a lower bound",
        "pixels": "no encoder: the pixel values themselves, as a baseline",
        **dict.fromkeys(RELEASED_FILES, "Meta's SAM; download with samunet_download_checkpoint"),
    }
    encoders |= {path.name: f"{path.stat().st_size / 2**20:.0f} MiB in {folder}" for path in checkpoint_files(folder)}
    return {name: {"description": text, "default": name == DEFAULT_ENCODER} for name, text in encoders.items()}


def _hardware() -> dict[str, Any]:
    """Processors, memory and PyTorch's devices."""
    import torch

    from samunet.workers import default_workers

    known = hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names
    devices = {f"cuda:{index}": torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())}
    if torch.backends.mps.is_available():
        devices["mps"] = "available"
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "default_workers": default_workers(),
        "torch_threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else None,
        "devices": devices,
    }
