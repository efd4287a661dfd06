"""The weights that have names: Meta's released SAM files, and the small encoder that ships with samunet."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from samunet.errors import UserError
from samunet.files import read_json
from samunet.schema import decode

# segment-anything's README. The digits after the last underscore begin the file's SHA-256.
RELEASED_FILES = {"vit_b": "sam_vit_b_01ec64.pth", "vit_l": "sam_vit_l_0b3195.pth", "vit_h": "sam_vit_h_4b8939.pth"}
RELEASED_ADDRESS = "https://dl.fbaipublicfiles.com/segment_anything/"
SAM_LICENCE = "Segment Anything's weights are Meta's, under the Apache-2.0 licence"
SHIPPED_ENCODER = "mini-3"
SHIPPED_START = "hybrid-start"
CHECKPOINT_ENDINGS = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class _Card:
    trained_on: str


def checkpoints_folder() -> Path:
    """The folder of checkpoints: `samunet_checkpoints`, else samunet_data/checkpoints under the current folder."""
    return Path(os.environ.get("samunet_checkpoints", Path("samunet_data") / "checkpoints"))


def checkpoint_files(folder: Path) -> list[Path]:
    """The files in `folder` with a checkpoint's ending, sorted; their content is not checked."""
    return sorted(path for path in folder.iterdir() if path.suffix in CHECKPOINT_ENDINGS) if folder.is_dir() else []


def sha256_start(file_name: str) -> str | None:
    """The first hex digits of the SHA-256 that a released file's name carries; None for other names."""
    return re.sub(r".*_|\.pth$", "", file_name) if file_name in RELEASED_FILES.values() else None


def released_path(name: str) -> Path:
    """The file of Meta's encoder `name`, by its released name.

    Raises:
        UserError: it is not in the checkpoints folder.
    """
    path = checkpoints_folder() / RELEASED_FILES[name]
    if not path.is_file():
        raise UserError(f"Encoder '{name}' needs Meta's released checkpoint.", where=checkpoints_folder(),
                        found=f"no file {RELEASED_FILES[name]}",
                        mend=f"Download it with samunet_download_checkpoint {name}, or set samunet_checkpoints to the "
                             "folder that holds it.")
    return path


def shipped_path() -> Path:
    """The weights that ship with samunet.

    Raises:
        UserError: this installation has none.
    """
    path = _shipped(".safetensors")
    if not path.is_file():
        raise UserError("Encoder 'mini' needs the weights that ship with samunet.", where=path, found="no such file",
                        mend="Reinstall samunet, or choose another --encoder.")
    return path


def start_path() -> Path:
    """The weights that `hybrid` can start from.

    Raises:
        UserError: this installation has none.
    """
    path = _weights(f"{SHIPPED_START}.safetensors")
    if not path.is_file():
        raise UserError("start=pretrained needs the weights that ship with samunet.", where=path, found="no such file",
                        mend="Reinstall samunet, or leave start=random.")
    return path


def shipped_card() -> dict[str, Any] | None:
    """How the shipped weights were trained (`trained_on`, `command`, `licence`, ...); None if there are none."""
    path = _shipped(".json")
    if not path.is_file():
        return None
    content = read_json(path)
    decode(_Card, content, rule="The model card of the shipped weights must say what they were trained on.", where=path,
           mend="Reinstall samunet.")
    return content


def _shipped(ending: str) -> Path:
    return _weights(f"{SHIPPED_ENCODER}{ending}")


def _weights(name: str) -> Path:
    return Path(str(files("samunet.networks"))) / "weights" / name
