"""Which requests are refused, and when two runs count as one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from samunet.errors import UserError
from samunet.training.settings import Request, Settings

SETTINGS = Settings("Dataset004_Hippocampus", "cnn_head", "0", "samunetPlans", "untrained", 400, None, 8, 5e-4, 1e-2, 0,
                    None,
                    0, None, "cpu", "ab", "cd", "ef")


def request(**changes) -> Request:
    return Request(**{"dataset": "4", "variant": "cnn_head", "fold": "0", "encoder": "untrained", "plans_name": "p",
                      **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "iterations must be 1"),
        ({"minutes": 0.0}, "minutes to train must be above 0"),
        ({"iterations": 5, "minutes": 1.0}, "Only one of"),
        ({"shots": 0}, "shots must be 1"),
        ({"shot_slices": 0}, "labelled slices must be 1"),
        ({"draw": -1}, "draw must be 0"),
        ({"seed": -1}, "seed must be 0"),
        ({"fold": "-1"}, "fold must be"),
        ({"fold": "al"}, "fold must be"),
        ({"plans_name": "../other"}, "one file name"),
        ({"variant": "sam_zeroshot", "prompts": Path("a.json"), "oracle_prompts": "point"},
         "Only one of a prompts file"),
        ({"variant": "sam_zeroshot"}, "needs some"),
        ({"oracle_prompts": "point"}, "variant that answers them"),
    ],
)
def test_requests_that_make_no_sense_are_refused(changes, message) -> None:
    with pytest.raises(UserError, match=message):
        request(**changes)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(UserError, match="(?s)2 problems.*shots.*draw"):
        request(shots=0, draw=-2)


def test_fold_all_is_a_fold() -> None:
    assert request(fold="all").fold == "all"


def test_equal_settings_have_no_differences() -> None:
    assert SETTINGS.differences(SETTINGS.to_json()) == []


def test_runs_of_before_there_were_prompts_are_equal_to_those_without_any() -> None:
    stored = {name: value for name, value in SETTINGS.to_json().items() if "prompts" not in name}
    assert SETTINGS.differences(stored) == []
    told = dataclasses.replace(SETTINGS, oracle_prompts="point")
    assert told.differences(stored) == ["oracle_prompts: None there, point here"]


def test_runs_of_before_there_were_inner_folds_are_equal_to_those_without_one() -> None:
    stored = {name: value for name, value in SETTINGS.to_json().items() if name != "inner"}
    assert SETTINGS.differences(stored) == []
    assert dataclasses.replace(SETTINGS, inner=0).differences(stored) == ["inner: None there, 0 here"]


def test_runs_of_before_there_were_labelled_slices_are_equal_to_those_of_whole_cases() -> None:
    stored = {name: value for name, value in SETTINGS.to_json().items() if name != "shot_slices"}
    assert SETTINGS.differences(stored) == []
    assert dataclasses.replace(SETTINGS, shot_slices=9).differences(stored) == ["shot_slices: None there, 9 here"]


@pytest.mark.parametrize("name", ["labels", "unlabelled"])
def test_runs_of_before_labels_were_told_are_taken_to_be_of_the_same_ones(name: str) -> None:
    told = dataclasses.replace(SETTINGS, **{name: "ab"})
    stored = told.to_json()
    assert told.differences({key: value for key, value in stored.items() if key != name}) == []
    assert told.differences({**stored, name: "cd"}) == [f"{name}: cd there, ab here"]
    assert told.differences({**stored, name: None}) == [f"{name}: None there, ab here"]


def test_differences_name_the_settings() -> None:
    stored = {**SETTINGS.to_json(), "iterations": 500, "seed": 3}
    assert SETTINGS.differences(stored) == ["iterations: 500 there, 400 here", "seed: 3 there, 0 here"]


def test_settings_that_only_one_side_knows_differ() -> None:
    assert SETTINGS.differences({**SETTINGS.to_json(), "mirror": True}) == ["mirror: True there, None here"]


def test_a_run_by_minutes_keeps_its_measured_count() -> None:
    asked = dataclasses.replace(SETTINGS, iterations=None, minutes=3.0)
    assert asked.differences({**asked.to_json(), "iterations": 731}) == []
    assert asked.differences({**asked.to_json(), "iterations": 731, "minutes": 2.0}) == [
        "iterations: 731 there, None here", "minutes: 2.0 there, 3.0 here"]
