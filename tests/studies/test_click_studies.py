"""What the studies of clicks compute from scores and masks, by hand."""

from __future__ import annotations

import argparse

import numpy as np
import pytest


def curve(dice, present=True):
    return {"Dice": dice, "NSD": dice, "Dice_area": 1.0, "NSD_area": sum(dice[1:]), "present": present, "clicks": []}


def found(**cases):
    return {"oracle": True, "simulator": "largest_error", "seed": 3, "clicks": 5, "cases": cases}


def test_rows_are_means_over_the_labels_that_a_case_has(script) -> None:
    rows = script("click_rows")
    both = {"a": curve([0, 0.2, 0.4, 0.4, 0.6, 1.0]), "b": curve([0, 0.4, 0.6, 0.8, 0.8, 1.0])}
    content = found(one=both, two={"a": curve([1] * 6, False), "b": curve([0, 0.1, 0.1, 0.2, 0.3, 0.4])},
                    three={"a": curve([1] * 6, False), "b": curve([1] * 6, False)})
    row = rows.row(content)
    assert row["oracle"] is True and row["click_seed"] == 3 and list(row["cases"]) == ["one", "two"]
    assert row["cases"]["one"] == pytest.approx([0, 0.3, 0.5, 0.6, 0.7, 1.0])
    assert row["dice"] == pytest.approx([0, 0.2, 0.3, 0.4, 0.5, 0.7]) and row["rises"]
    assert row["NSD_area"] == pytest.approx((2.6 + 3.6 + 1.1) / 3)
    flat = rows.row(found(one={"a": curve([0, 0.5, 0.5, 0.6, 0.7, 0.8])}))
    assert not flat["rises"]


def test_what_is_computed_once_is_not_computed_again(script, tmp_path) -> None:
    once = script("click_rows").once
    assert once(tmp_path / "deep" / "a.json", lambda path: path.write_text('{"a": 1}')) == {"a": 1}
    assert once(tmp_path / "deep" / "a.json", lambda path: path.write_text('{"a": 2}')) == {"a": 1}


class Clearing:
    """Answers a negative click by clearing all voxels within 2 columns of it."""

    def __init__(self, mask):
        self.mask = mask

    def set_mask(self, mask):
        self.mask = mask.copy()

    def add_point(self, place, label, positive):
        assert label == "tumour" and not positive
        self.mask[..., max(place[2] - 2, 0) : place[2] + 3] = 0


def test_a_negative_click_is_counted_in_voxels(script) -> None:
    study = script("one_click")
    answer, distractor = np.zeros((2, 3, 20), np.uint8), np.zeros((2, 3, 20), bool)
    answer[:, :, 1:5] = 1
    distractor[:, :, 8:13] = True
    counts = study.without_distractor(Clearing(answer), distractor, [0, 1, 10])
    assert counts == {"distractor": 30, "removed": 30, "lost": 0, "added": 0}
    counts = study.without_distractor(Clearing(answer), distractor, [0, 1, 6])  # columns 4 to 8
    assert counts == {"distractor": 30, "removed": 6, "lost": 6, "added": 0}
    found = study.summary({"a": {"distractor": 30, "removed": 27, "lost": 0, "added": 0},
                           "b": {"distractor": 30, "removed": 26, "lost": 0, "added": 0},
                           "c": {"distractor": 30, "removed": 30, "lost": 0, "added": 1}})
    assert (found["clicks"], found["removed"], found["nothing_else"], found["both"]) == (3, 2, 2, 1)


def test_the_marks_of_one_click_by_hand(script) -> None:
    study = script("one_click")
    rows = {"3d_promptable": {"score_of_cases": {"a": 0.8, "b": 0.6}, "empty": "2 of 2"},
            "3d_promptable_auto": {"score_of_cases": {"a": 0.5, "b": 0.5}},
            "unet": {"score_of_cases": {"a": 0.7, "b": 0.6}}}
    study.compare(rows, "3d_promptable", ["3d_promptable_auto", "unet"])
    assert rows["unet"]["one_click_ahead"]["mean"] == pytest.approx(0.05)
    options = argparse.Namespace(prompted=["3d_promptable"], automatic=["3d_promptable_auto", "unet"], cases=(2, 2),
                                 core=4.0, minutes=1.0, seed=0, threads=1)
    record = study.content(options, rows, {"clicks": 2, "both": 2})
    assert record["oracle"] is True and list(record["met"].values()) == [True, False, True, True]
    rows["3d_promptable"]["empty"] = "1 of 2"
    assert list(study.content(options, rows, {"clicks": 2, "both": 1})["met"].values()) == [True, False, False, False]


def test_empty_cases_are_those_without_the_label(script) -> None:
    content = found(one={"tumour": curve([1] * 6, False)}, two={"tumour": curve([0] * 6, False)},
                    three={"tumour": curve([0, 1, 1, 1, 1, 1])})
    assert script("one_click").empty_cases(content) == {"empty": "1 of 2"}


def test_cases_are_spread_and_linked(script, tmp_path) -> None:
    study = script("clicks")
    assert study.spread(["d", "b", "a", "c"], 2) == ["a", "c"] and study.spread(["b", "a"], 9) == ["a", "b"]
    for name in ("a", "ab"):
        for folder, file in (("imagesTr", f"{name}_0000.nii.gz"), ("labelsTr", f"{name}.nii.gz")):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / file).write_text(name)
    for _ in range(2):  # links that are there stay
        images, labels = study.linked(tmp_path, ["a"], tmp_path / "out")
    assert [path.name for path in images.iterdir()] == ["a_0000.nii.gz"]
    assert [path.read_text() for path in labels.iterdir()] == ["a"]


def test_methods_are_compared_after_1_3_and_5_clicks(script) -> None:
    study = script("clicks")
    rows = {"first": {"cases": {"a": [0, 0.5, 0.6, 0.7, 0.8, 0.9], "b": [0, 0.5, 0.6, 0.7, 0.8, 0.9]}},
            "other": {"cases": {"a": [0, 0.4, 0.6, 0.6, 0.8, 0.6], "b": [0, 0.4, 0.6, 0.6, 0.8, 0.7]}}}
    study.compare(rows, {"a": "p", "b": "q"})
    ahead = {clicks: found["mean"] for clicks, found in rows["other"]["first_ahead"].items()}
    assert ahead == {1: pytest.approx(0.1), 3: pytest.approx(0.1), 5: pytest.approx(0.25)}
