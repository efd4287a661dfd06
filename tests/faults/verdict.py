"""What became of a fault: the worst that was seen, from held to traceback."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from tests.faults.place import Place
from tests.faults.warm import Ended

FINE = (0, 2, 130)


class Verdict(Enum):
    """The columns of the table, the good ones first."""

    # the same command given again ends with the bytes of the undisturbed job, or the damage reaches nothing
    HELD = "held"
    REBUILT = "rebuilt"  # the damaged file is whole again, the results are the same
    REFUSED = "refused"  # exit 2, the file is named, and the remedy restores it
    STRAY = "stray"  # files are left over
    LOST = "lost"  # finished work is gone, or neither the command nor the remedy brings the results back
    WRONG = "wrong"  # exit 0 and other bytes
    TRACEBACK = "traceback"  # an internal fault, a crash, or a command that does not end
    HARNESS = "harness"  # the harness itself failed: nothing was shown

    @property
    def good(self) -> bool:
        return self in (Verdict.HELD, Verdict.REBUILT, Verdict.REFUSED)


@dataclass(frozen=True)
class Outcome:
    """A verdict and what showed it."""

    verdict: Verdict
    detail: str = ""


def broke(ended: Ended, sent: Sequence[int] = ()) -> str | None:
    """Why an end is an internal fault whatever was done to the command, or None.

    `sent` holds the signals that it was sent.
    """
    if "Traceback (most recent call last)" in ended.err or ended.code == 1:
        return f"code {ended.code}: {ended.last}"
    if "TIMEOUT" in ended.err:
        return "it did not end"
    if ended.code not in (*FINE, *(-number for number in sent)):
        return f"code {ended.code}"
    return None


def differing(place: Place, expected: dict[str, str], ignored: Sequence[str] = ()) -> str | None:
    """The first promised file that is missing or has other bytes than expected, or None."""
    now = place.promised()
    for name, digest in expected.items():
        if name not in ignored and now.get(name) != digest:
            return f"{name} {'differs' if name in now else 'is missing'}"
    return None


def half_written(place: Place, before: dict[str, str], after: dict[str, str]) -> str | None:
    """The first promised file with bytes other than before and after the disturbed command, or None."""
    return next((name
                 for name, digest in place.promised().items()
                 if digest not in (before.get(name), after.get(name))), None)


def said(ended: Ended) -> str:
    """A command's error message on one line, without paths' folders."""
    text = ended.err[ended.err.find("error: ") :] if "error: " in ended.err else ended.last
    return re.sub(r"/\S*/", "", " ".join(text.split()))[:300]
