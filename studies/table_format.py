"""What the tables of the studies' pages have in common: records by commit, Markdown rows, figures."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def records(name: str, commit: str = "") -> list[dict[str, Any]]:
    """The records of `results/<name>.jsonl` whose commit begins with `commit`, oldest first."""
    lines = (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for record in map(json.loads, lines) if record["commit"].startswith(commit)]


def last(name: str, commit: str = "") -> dict[str, Any]:
    """The youngest of `records`."""
    return records(name, commit)[-1]


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; a cell of None is empty."""
    head, *body = (
        "| " + " | ".join("" if cell is None else str(cell) for cell in line) + " |" for line in (header, *rows)
    )
    return "\n".join([head, "|" + "---|" * len(header), *body])


def signed(interval: Mapping[str, float]) -> str:
    """A difference with its interval: +0.006 [-0.005, +0.018]."""
    return f"{interval['mean']:+.3f} [{interval['low']:+.3f}, {interval['high']:+.3f}]"


def code(name: str) -> str:
    """A method's name as code, what tables add to it as text: `sam_zeroshot` (oracle point)."""
    plain, space, added = name.partition(" ")
    return f"`{plain}`{space}{added}"


def span(numbers: int | Sequence[int] | None) -> str:
    """Iterations of one run or of several draws: 290, or 286 to 324; empty where nothing is trained."""
    several = [numbers] if isinstance(numbers, int) else list(numbers or [])
    if not any(several):
        return ""
    return str(several[0]) if min(several) == max(several) else f"{min(several)} to {max(several)}"
