"""Errors that list others: numbered once, whatever they were joined from, also after a way through a pickle."""

from __future__ import annotations

import pickle

from samunet.errors import BadCases, UserError, joined, some

ONE, TWO, THREE = (UserError(rule, where=f"{rule}.nii") for rule in ("one", "two", "three"))


def test_errors_that_were_joined_before_are_numbered_once():
    assert str(joined([joined([ONE, TWO]), THREE])) == (
        "3 problems were found:\n1. one\n  where: one.nii\n2. two\n  where: two.nii\n3. three\n  where: three.nii")


def test_one_bad_case_reads_as_its_error():
    assert str(BadCases([ONE])) == str(ONE) and BadCases([ONE]).where == "one.nii"


def test_bad_cases_come_back_from_a_worker():
    back = pickle.loads(pickle.dumps(BadCases([ONE, joined([TWO, THREE])])))
    assert type(back) is BadCases and [str(problem) for problem in back.problems] == [str(ONE), str(TWO), str(THREE)]


def test_names_that_cannot_be_printed_are_escaped():
    assert some(["a", "b\n", "c\udcff"]) == "a, 'b\\n', 'c\\udcff'"
    assert some(list("abcdefg")) == "a, b, c, d, e and 2 more"
    assert some(list("abcdefg"), 6) == "a, b, c, d, e, f and 1 more"
