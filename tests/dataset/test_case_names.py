"""Names that cases may not have, one error for each rule."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from samunet.dataset.case_names import case_name_problems


@pytest.mark.parametrize("name", ["case_1", "Fall ä 7", "a.b", "患者", "no break", "A", "n" * 180, "dataset"])
def test_sound_names(name):
    assert case_name_problems([name], ".nii.gz", Path("imagesTr")) == ([], set())


@pytest.mark.parametrize(("name", "rule"), [
    (os.fsdecode(b"c\xff"), "UTF-8"), ("a\nb", "control characters"), ("a\x7f", "control characters"),
    ("a\x00", "control characters"),
    ("", "usable as a file name"), ("a/b", "usable as a file name"), ("..", "usable as a file name"),
    (".a", "usable as a file name"), ("ä" * 91, "at most 180 bytes"),
])
def test_unusable_names(name, rule):
    (problem,), bad = case_name_problems(["good", name], ".nii.gz", Path("imagesTr"))
    assert rule in problem.rule and bad == {name} and problem.where == "imagesTr"
    assert problem.found.isprintable()


@pytest.mark.parametrize("name",
                         ["dataset", "plans", "predict_from_raw_data_args", "summary", "metrics", "postprocessing",
                          "a.properties"])
def test_names_of_files_beside_predictions_are_taken_where_a_case_has_a_json_of_its_own(name):
    (problem,), bad = case_name_problems([name], ".tif", Path("imagesTr"))
    assert bad == {name} and problem.found == name
    assert case_name_problems([name], ".png", Path("imagesTr")) == ([], set())


def test_one_error_for_each_rule():
    problems, bad = case_name_problems(["a\n", "b\n", "c", ".d"], ".nii.gz", Path("imagesTr"))
    assert [problem.found for problem in problems] == ["'a\\n', 'b\\n'", ".d"] and bad == {"a\n", "b\n", ".d"}
