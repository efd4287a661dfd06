"""Who climbs, and for how long: numbers by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest

from samunet.benchmarking.ladder import BASELINES, FIXED, LADDER, TRAIN_NOTHING, Length, shares, sizes
from samunet.variants.registry import entry


@pytest.mark.parametrize(("candidates", "expected"), [
    (0, []), (1, [1]), (2, [2]), (3, [3, 2]), (4, [4, 2]), (5, [5, 3, 2]), (6, [6, 3, 2]), (7, [7, 4, 2]),
    (9, [9, 5, 3, 2])])
def test_each_round_has_the_better_half_of_the_one_before(candidates: int, expected: list[int]) -> None:
    assert sizes(candidates) == expected


def test_six_candidates_share_the_budget_in_twentieths() -> None:
    # 6 x 1 + 3 x 2 + 2 x 4 = 20
    assert shares(6) == [1 / 20, 2 / 20, 4 / 20]
    assert shares(4) == [1 / 8, 2 / 8] and shares(1) == [1.0] and shares(0) == []


@pytest.mark.parametrize("candidates", range(1, 12))
def test_all_rounds_together_take_the_budget(candidates: int) -> None:
    parts = shares(candidates)
    assert sum(count * part for count, part in zip(sizes(candidates), parts, strict=True)) == pytest.approx(1)
    assert all(later == 2 * part for part, later in pairwise(parts))


def test_every_rung_is_a_variant_that_needs_no_prompt() -> None:
    assert all(not entry(name).prompts for name in (*LADDER, *TRAIN_NOTHING))
    assert FIXED in LADDER and not set(LADDER) & set(TRAIN_NOTHING) and set(BASELINES) <= set(TRAIN_NOTHING)


def test_a_length_as_text() -> None:
    assert (str(Length(iterations=3)), str(Length(minutes=0.3))) == ("3 iterations", "0.3 minutes")
