from __future__ import annotations

import argparse
import sys
from types import ModuleType

import pytest


@pytest.fixture
def gain(script) -> ModuleType:
    return script("encoder_gain")


def test_a_cases_dice_is_the_mean_of_its_foreground_classes_that_there_are(gain) -> None:
    summary = {"metric_per_case": [
        {"reference_file": "/labels/case_1.nii.gz", "metrics": {"1": {"Dice": 0.5}, "2": {"Dice": 1.0}}},
        {"reference_file": "/labels/case_2.nii.gz", "metrics": {"1": {"Dice": 0.25}, "2": {"Dice": float("nan")}}},
    ]}
    assert gain.case_dice(summary) == {"case_1": 0.75, "case_2": 0.25}


def test_the_first_encoder_is_paired_with_each_other_and_with_the_prior(gain) -> None:
    rows = [gain.Row("", "label_prior", 1, {0: {"a": 0.0, "b": 0.5}}),
            gain.Row("mini", "probe", 1, {0: {"a": 0.5, "b": 1.0}}),
            gain.Row("pixels", "probe", 1, {0: {"a": 0.25, "b": 0.75}}),
            gain.Row("pixels", "cnn_head", 1, {0: {"a": 0.0, "b": 0.0}}),
            gain.Row("pixels", "probe", 5, {0: {"a": 0.0, "b": 0.0}})]
    found = {(each.head, each.shots, each.against): each.interval for each in gain.gains_of("mini", rows, None)}
    assert {key: (each.mean, each.low, each.high) for key, each in found.items()} == {
        ("probe", 1, "label_prior"): (0.5, 0.5, 0.5), ("probe", 1, "pixels"): (0.25, 0.25, 0.25)}


def test_draws_weigh_the_same(gain) -> None:
    row = gain.Row("mini", "probe", 1, {0: {"a": 1.0}, 1: {"b": 0.0, "c": 0.5}})
    assert row.draws == {0: 1.0, 1: 0.25}
    assert row.mean == 0.625


def test_iterations_of_one_head_are_replaced_and_the_final_look_has_one_draw(gain, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["encoder_gain.py", "-d", "4", "--iterations", "cnn_head=150", "--final"])
    options = gain.parsed()
    assert options.iterations == {**gain.ITERATIONS, "cnn_head": 150}
    assert options.draws == [0]
    with pytest.raises(argparse.ArgumentTypeError, match="HEAD=N"):
        gain.head_iterations("unet=3")
