"""The exception whose message is for users."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

SHOWN_NAMES = 5


class UserError(Exception):
    """Bad input: the rule, where it is broken, what was found and how to fix it.

    Commands print it as one message and exit with code 2. `problems` are the errors that it consists of: itself, except
    for `SeveralErrors`.
    """

    problems: tuple[UserError, ...]

    def __init__(self, rule: str, *, where: str | Path = "", found: str = "", mend: str = "") -> None:
        self.problems = (self,)
        self.rule, self.where, self.found, self.mend = rule, str(where), found, mend
        lines = [rule]
        if self.where:
            lines.append(f"  where: {self.where}")
        if found:
            lines.append(f"  found: {found}")
        if mend:
            lines.append(f"  mend:  {mend}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[Any, ...]:
        # Worker processes pickle exceptions, which fails for keyword-only arguments.
        return _rebuild, (self.rule, self.where, self.found, self.mend)


def _rebuild(rule: str, where: str, found: str, mend: str) -> UserError:
    return UserError(rule, where=where, found=found, mend=mend)


class SeveralErrors(UserError):
    """Several errors as one message, numbered if there is more than one."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        problems = tuple(problem for error in errors for problem in error.problems)
        if len(problems) == 1:
            (only,) = problems
            super().__init__(only.rule, where=only.where, found=only.found, mend=only.mend)
        else:
            text = "\n".join(f"{number}. {problem}" for number, problem in enumerate(problems, 1))
            super().__init__(f"{len(problems)} problems were found:\n{text}")
        self.problems = problems

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problems,)


class BadCases(SeveralErrors):
    """Problems of some cases of a folder; the work on all other cases is done."""


def joined(problems: Sequence[UserError]) -> UserError:
    """One error that lists several, in their order. A single problem is returned as it is."""
    return problems[0] if len(problems) == 1 else SeveralErrors(problems)


def some(names: Sequence[str], shown: int = SHOWN_NAMES) -> str:
    """The first names, and how many more there are. Unprintable names (with control characters) are escaped."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(name if name.isprintable() else repr(name) for name in names[:shown]) + more
