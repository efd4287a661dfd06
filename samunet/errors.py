"""The one exception that a user is meant to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SHOWN_NAMES = 5


class UserError(Exception):
    """Bad input: says the rule, where it is broken, what was found and how to mend it.

    Commands print it as one message and exit with code 2.
    """

    def __init__(self, rule: str, *, where: str | Path = "", found: str = "", mend: str = "") -> None:
        self.rule, self.where, self.found, self.mend = rule, str(where), found, mend
        lines = [rule]
        if self.where:
            lines.append(f"  where: {self.where}")
        if found:
            lines.append(f"  found: {found}")
        if mend:
            lines.append(f"  mend:  {mend}")
        super().__init__("\n".join(lines))

    def __reduce__(self):
        # Exceptions travel from worker processes as pickles; keyword-only arguments need help.
        return _rebuild, (self.rule, self.where, self.found, self.mend)


def _rebuild(rule: str, where: str, found: str, mend: str) -> UserError:
    return UserError(rule, where=where, found=found, mend=mend)


def joined(problems: list[UserError]) -> UserError:
    """One error that lists several, in their order. A single problem is returned as it is."""
    if len(problems) == 1:
        return problems[0]
    text = "\n".join(f"{number}. {problem}" for number, problem in enumerate(problems, 1))
    return UserError(f"{len(problems)} problems were found:\n{text}")


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else "")
