"""JSON of a model as others may read it: without the folders of the machine that trained it."""

from __future__ import annotations

import json
import re
from pathlib import Path, PureWindowsPath
from typing import Any

from samunet.files import read_json

_ABSOLUTE = re.compile(r"/|\\\\|[A-Za-z]:[\\/]")


def portable_json(path: Path) -> bytes:
    """The content of a JSON file, in which every absolute path is reduced to its last part; NaN stays bare.

    In a run.json so is the name of the encoder, which may be a relative path. Its weights are known by their digest.

    Raises:
        UserError: see `read_json`.
    """
    content = without_folders(read_json(path))
    if path.name == "run.json":
        content = {**content, "encoder": {**content["encoder"], "name": last_part(content["encoder"]["name"])}}
    return (json.dumps(content, indent=2) + "\n").encode()


def without_folders(content: Any) -> Any:
    """`content` with every text that is an absolute path, of POSIX or Windows, reduced to its last part."""
    if isinstance(content, dict):
        return {key: without_folders(value) for key, value in content.items()}
    if isinstance(content, list):
        return [without_folders(value) for value in content]
    return last_part(content) if isinstance(content, str) and _ABSOLUTE.match(content) else content


def last_part(path: str) -> str:
    """The last part of a path with either separator; the text itself where that is empty, as of `/`."""
    return PureWindowsPath(path).name or path
