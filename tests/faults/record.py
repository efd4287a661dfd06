"""Records of long runs, and the tables of documentation/faults.md from them: `python -m tests.faults.record FILE`."""

from __future__ import annotations

import json
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


def tables(path: Path) -> str:
    """Markdown: the table of the last long run of faults, and of the last of the whole corpus."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    text = []
    for key, title in (("faults", "faults"), ("corpus", "entries of bad input")):
        if last := next((line for line in reversed(lines) if key in line), None):
            text.append(f"{last[key]} {title}, {last['seconds']} s, commit {last['commit'][:7]}: `{last['command']}`\n")
            text.append(_table(last["table"]))
    return "\n".join(text)


def _table(rows: dict[str, dict[str, int]]) -> str:
    columns = [name for name in next(iter(rows.values()))]
    total = {name: sum(row[name] for row in rows.values()) for name in columns}
    lines = [f"| kind | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    lines += [f"| {kind} | {' | '.join(str(row[name]) for name in columns)} |"
              for kind, row in {**rows, "all": total}.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(tables(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS))
