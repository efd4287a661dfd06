"""Paths that stay in their folder: a link in a folder of images or annotations must not lead out of it."""

from __future__ import annotations

from pathlib import Path

from samunet.errors import UserError


def require_inside(path: Path, folder: Path) -> Path:
    """Return `path`, which need not exist, if it is in `folder` after all links are followed.

    Raises:
        UserError: it leads out of the folder.
    """
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise UserError("A file of samunet_annotate must be in its folder, after links are followed.", where=path,
                        found=f"a link to {real}", mend="Replace the link by a copy of the file.")
    return path
