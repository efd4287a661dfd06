"""How every script here records a run: one JSON line, with time, commit and the command that repeats it."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def facts() -> dict[str, Any]:
    """Time, commit and command of this run. A commit with `+` had uncommitted changes in tracked files."""
    commit = _git("rev-parse", "HEAD") + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "commit": commit,
            "command": shlex.join(["python", f"studies/{Path(sys.argv[0]).name}", *sys.argv[1:]])}


def append(path: Path | None, content: dict[str, Any]) -> None:
    """Append `content` as a line to `path`; None: nothing is recorded."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(content) + "\n")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
