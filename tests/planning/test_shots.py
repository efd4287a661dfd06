from __future__ import annotations

import numpy as np
import pytest

from samunet.errors import UserError
from samunet.planning.shots import draw_shots

NAMES = [f"case_{index:02d}" for index in range(12)]
PATIENTS = {name: str(index // 2) for index, name in enumerate(NAMES)}


def test_order_by_hand_without_groups():
    expected = np.random.RandomState(12345 + 3).permutation(NAMES).tolist()
    assert draw_shots(NAMES[::-1], None, 12, 3) == expected


def test_first_one_case_of_each_patient_then_their_second_cases():
    order = np.random.RandomState(12345).permutation(["0", "1", "2", "3", "4", "5"]).tolist()
    firsts = [NAMES[2 * int(patient)] for patient in order]
    seconds = [NAMES[2 * int(patient) + 1] for patient in order]
    assert draw_shots(NAMES, PATIENTS, 12, 0) == firsts + seconds


def test_patients_are_sorted_as_strings():
    names = [f"case_{index}" for index in range(11)]
    groups = {name: str(index) for index, name in enumerate(names)}
    order = np.random.RandomState(12345).permutation(sorted(groups.values())).tolist()
    assert draw_shots(names, groups, 11, 0) == [f"case_{patient}" for patient in order]


@pytest.mark.parametrize("draw", [0, 1, 7])
def test_exactly_k_and_smaller_sets_nest_in_larger_ones(draw):
    previous: list[str] = []
    for shots in range(1, 13):
        drawn = draw_shots(NAMES, PATIENTS, shots, draw)
        assert len(drawn) == len(set(drawn)) == shots
        assert drawn[:-1] == previous
        previous = drawn


def test_draws_differ():
    assert draw_shots(NAMES, PATIENTS, 3, 0) != draw_shots(NAMES, PATIENTS, 3, 1)


def test_uneven_patients():
    groups = {"a1": "a", "a2": "a", "a3": "a", "b1": "b"}
    drawn = draw_shots(sorted(groups), groups, 4, 0)
    assert sorted(drawn[:2]) == ["a1", "b1"] and drawn[2:] == ["a2", "a3"]


@pytest.mark.parametrize("shots", [0, 13])
def test_more_shots_than_cases_or_none_is_an_error(shots):
    with pytest.raises(UserError, match="--shots"):
        draw_shots(NAMES, PATIENTS, shots, 0)
