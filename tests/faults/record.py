"""Records of long runs. `python studies/tables.py` writes the tables of the pages from them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "studies" / "results" / "faults.jsonl"


def record(path: Path, command: Sequence[str], content: dict[str, Any]) -> None:
    """Append a line as the scripts of studies/ do; `command` is a module and its arguments."""
    sys.path.insert(0, str(ROOT / "studies"))
    from record import append, facts

    append(path, {**facts(), "command": f"python -m {shlex.join(command)}", **content})
