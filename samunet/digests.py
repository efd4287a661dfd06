"""SHA-256 digests of files, folders, JSON content and arrays."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


def digest_of_json(content: Any) -> str:
    """SHA-256 (hex) of the canonical JSON text of `content`: sorted keys, no spaces."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of_path(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes, or of the names and bytes of the files in a folder (hidden ones left out)."""
    if path.is_dir():
        return digest_of_json({file.name: digest_of_file(file) for file in files_in(path)})
    return digest_of_file(path)


def digest_of_array(array: Any) -> str:
    """SHA-256 (hex) of a NumPy array's dtype, shape and bytes in C order."""
    import numpy as np

    array = np.ascontiguousarray(array)
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(array.reshape(-1).view(np.uint8))  # no copy: arrays may be gigabytes
    return digest.hexdigest()


def files_in(folder: Path) -> list[Path]:
    """The files of a folder, sorted; hidden ones are left out."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
