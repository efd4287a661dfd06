"""The one exception that a user is meant to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

SHOWN_NAMES = 5


class UserError(Exception):
    """Bad input: says the rule, where it is broken, what was found and how to mend it.

    Commands print it as one message and exit with code 2. `problems` are the errors that it consists of: itself alone,
    but for `SeveralErrors`.
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

    def __reduce__(self):
        # Exceptions travel from worker processes as pickles; keyword-only arguments need help.
        return _rebuild, (self.rule, self.where, self.found, self.mend)


def _rebuild(rule: str, where: str, found: str, mend: str) -> UserError:
    return UserError(rule, where=where, found=found, mend=mend)


class SeveralErrors(UserError):
    """Several errors as one message, numbered where there is more than one."""

    def __init__(self, errors: Sequence[UserError]) -> None:
        problems = tuple(problem for error in errors for problem in error.problems)
        if len(problems) == 1:
            (only,) = problems
            super().__init__(only.rule, where=only.where, found=only.found, mend=only.mend)
        else:
            text = "\n".join(f"{number}. {problem}" for number, problem in enumerate(problems, 1))
            super().__init__(f"{len(problems)} problems were found:\n{text}")
        self.problems = problems

    def __reduce__(self):
        return type(self), (self.problems,)


class BadCases(SeveralErrors):
    """What is wrong with some cases of a folder; the work on all other cases is done."""


def joined(problems: Sequence[UserError]) -> UserError:
    """One error that lists several, in their order. A single problem is returned as it is."""
    return problems[0] if len(problems) == 1 else SeveralErrors(problems)


def some(names: Sequence[str], shown: int = SHOWN_NAMES) -> str:
    """The first names, and how many more there are. What cannot be printed, a control character say, is escaped."""
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(name if name.isprintable() else repr(name) for name in names[:shown]) + more
