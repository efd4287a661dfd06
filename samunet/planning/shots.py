"""Which labelled cases, and which slices of them, a few-shot run may see: rules that anybody can repeat."""

from __future__ import annotations

from collections import Counter, defaultdict
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


def choose_slices(shown: Mapping[str, Sequence[int]], count: int) -> dict[str, tuple[int, ...]]:
    """`count` labelled slices in all: case -> its slices, for those cases that get any.

    Slices are dealt out one by one, in the order of the cases and again from the first; a case that has no more to give
    is passed over. So n cases get `count // n` each and the first `count % n` one more, unless one shows too little.
    The k slices of a case lie in k equal parts of its slices with foreground, those of the first case towards the
    beginning of each part, those of the last towards its end. So the cases' slices show the structure at different
    heights, n k of them at even distances, whatever sees all.

    Smaller counts are no parts of larger ones, since the heights move.

    Arguments:
        shown: case -> its slices that show any foreground, ascending; cases in the order of the draw.
        count: 1 or more.

    Raises:
        UserError: more slices than show foreground, or none.
    """
    available = sum(map(len, shown.values()))
    if not 1 <= count <= available:
        raise UserError(
            "--shot_slices must be at least 1 and at most the slices of the training cases that show any foreground.",
            where="--shot_slices",
            found=f"{count} slices; {available} of {len(shown)} cases show foreground",
            mend=f"Give a number from 1 to {available}, or more --shots.",
        )
    rounds = range(max(map(len, shown.values())))
    dealt = [name for turn in rounds for name in shown if turn < len(shown[name])][:count]
    shares = Counter(dealt)
    # Case r of n takes the slice at (part + (r + 1/2) / n) / k of its slices with foreground, counted in whole numbers.
    return {
        name: tuple(
            shown[name][(2 * (part * len(shares) + place) + 1) * len(shown[name]) // (2 * len(shares) * share)]
            for part in range(share)
        )
        for place, (name, share) in enumerate(shares.items())
    }


def draw_folder(shots: int | None, draw: int, slices: int | None) -> str:
    """Name of the folder, in a model's, of the runs of one draw; empty where all labels of all training cases are used.

    Arguments:
        shots: cases drawn; None: all. slices: labelled slices in all; None: all of the cases drawn.
    """
    if shots is None and slices is None:
        return ""
    return f"shots{'all' if shots is None else shots}_draw{draw}" + ("" if slices is None else f"_slices{slices}")
