"""Which K labelled cases a few-shot run may see: a rule that anybody can repeat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from samunet.errors import UserError

SHOTS_SEED = 12345


def draw_shots(train: Sequence[str], groups: Mapping[str, str] | None, shots: int, draw: int) -> list[str]:
    """Exactly `shots` of the fold's training cases, in the order drawn.

    `RandomState(12345 + draw).permutation` of the patients (sorted as strings), then the first case of each in that
    order, then their second cases, and so on. Smaller sets nest in larger ones of the same draw. The other cases of a
    drawn patient are nobody's: they train nothing and validate nothing.

    Arguments:
        train: the fold's labelled training cases.
        groups: case -> patient; None where each case is its own patient.
        shots: cases wanted, 1 or more.
        draw: 0 or more.

    Raises:
        UserError: fewer cases than shots, no shots, or a negative draw.
    """
    if not 1 <= shots <= len(train):
        raise UserError(
            "--shots must be at least 1 and at most the fold's labelled training cases.",
            where="--shots",
            found=f"{shots} shots, {len(train)} cases",
            mend=f"Give a number from 1 to {len(train)}.",
        )
    if draw < 0:
        raise UserError("--draw must be 0 or more.", where="--draw", found=str(draw))
    cases_of: dict[str, list[str]] = defaultdict(list)
    for name in sorted(train):
        cases_of[name if groups is None else str(groups[name])].append(name)
    order = np.random.RandomState(SHOTS_SEED + draw).permutation(sorted(cases_of)).tolist()
    rounds = range(max(map(len, cases_of.values())))
    drawn = [cases_of[patient][turn] for turn in rounds for patient in order if turn < len(cases_of[patient])]
    return drawn[:shots]
