from __future__ import annotations

import numpy as np
import pytest

from samunet.errors import UserError
from samunet.planning.shots import choose_slices, draw_folder, draw_shots

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


# Ten, four and one slice show foreground; `d` shows none.
SHOWN = {"b": list(range(10, 20)), "d": [], "a": [3, 4, 5, 6], "c": [7]}


@pytest.mark.parametrize(("count", "expected"), [
    (1, {"b": (15,)}),  # the middle, index 10 / 2
    (2, {"b": (12,), "a": (6,)}),  # at a quarter and at three: indices 10 / 4 and 3 * 4 / 4, rounded down
    (3, {"b": (11,), "a": (5,), "c": (7,)}),  # at 1, 3 and 5 sixths
    (4, {"b": (10, 15), "a": (5,), "c": (7,)}),  # of 10 slices at 1 and 7 twelfths
    (5, {"b": (10, 15), "a": (4, 6), "c": (7,)}),  # of 4 slices at 3 and 9 twelfths
    (6, {"b": (10, 13, 17), "a": (4, 6), "c": (7,)}),  # `c` has no more; of 10 slices at 1, 7 and 13 eighteenths
    (15, {"b": tuple(range(10, 20)), "a": (3, 4, 5, 6), "c": (7,)}),
])
def test_slices_are_dealt_in_the_order_of_the_draw_and_lie_at_different_heights(count, expected):
    assert choose_slices(SHOWN, count) == expected


def test_the_slices_of_all_cases_together_are_evenly_spread():
    shown = {name: list(range(60)) for name in "cabed"}
    for count, step in ((5, 12), (10, 6), (20, 3)):
        heights = sorted(slice_ for slices in choose_slices(shown, count).values() for slice_ in slices)
        assert heights == list(range(step // 2, 60, step))


def test_cases_that_show_enough_get_the_same_number_and_the_first_one_more():
    shown = {name: list(range(20)) for name in "cab"}
    for count in range(1, 40):
        dealt = choose_slices(shown, count)
        each, more = divmod(count, 3)
        assert [len(dealt.get(name, ())) for name in "cab"] == [each + (place < more) for place in range(3)]
        assert all(list(slices) == sorted(set(slices)) for slices in dealt.values())


@pytest.mark.parametrize("count", [0, 16])
def test_more_slices_than_show_foreground_or_none_is_an_error_that_says_how_many_there_are(count):
    with pytest.raises(UserError, match="(?s)--shot_slices.*15 of 4 cases"):
        choose_slices(SHOWN, count)


def test_folders_of_draws():
    assert [draw_folder(None, 3, None), draw_folder(5, 0, None), draw_folder(5, 0, 10), draw_folder(None, 1, 10)] == [
        "", "shots5_draw0", "shots5_draw0_slices10", "shotsall_draw1_slices10"]
