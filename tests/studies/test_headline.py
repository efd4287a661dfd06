"""The headline's decision by hand."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from samunet.files import make_folder, write_json


@pytest.fixture
def headline(script) -> ModuleType:
    return script("headline")


def test_the_margin_is_over_098_of_the_full_model(headline) -> None:
    full = {"a": 1.0, "b": 0.5}
    margin = headline.above_share({"a": 1.0, "b": 0.5}, full, None)  # 0.02 and 0.01
    assert margin.mean == pytest.approx(0.015)
    assert (margin.low, margin.high) == (pytest.approx(0.01), pytest.approx(0.02))


def test_patients_are_resampled_with_all_their_cases(headline) -> None:
    margin = headline.above_share({"a": 0.98, "b": 0.88}, {"a": 1.0, "b": 1.0}, {"a": "one", "b": "one"})
    assert margin.low == margin.high == pytest.approx(-0.05)


def test_it_is_decided_only_where_the_full_model_has_converged(headline) -> None:
    above, across = headline.Interval(0.01, 0.005, 0.015), headline.Interval(0.01, -0.005, 0.025)
    assert headline.verdict(above, 0.8699) == headline.verdict(across, 0.8699) == "undecided"
    assert headline.verdict(above, 0.87) == "holds"
    assert headline.verdict(across, 0.87) == "missed"


def test_the_full_model_is_the_best_run_from_all_cases_and_outlives_it(headline, tmp_path: Path) -> None:
    for variant, folder, dice, oracle in (("atlas", "fold_0", 0.75, None), ("hybrid", "fold_0", 0.875, None),
                                          ("unet", "shots5_draw0/fold_0", 1.0, None),
                                          ("3d_adapter_box", "fold_0", 1.0, "box3d")):
        case = {"reference_file": "labels/a.nii.gz", "metrics": {"0": {"Dice": 0.0}, "1": {"Dice": dice}}}
        place = make_folder(tmp_path / f"{variant}__plans" / folder / "validation")
        write_json(place / "summary.json", {"metric_per_case": [case]})
        write_json(place.parent / "run.json", {"settings": {"oracle_prompts": oracle}})
    found = headline.best_of(tmp_path, "__plans", "fold_0")
    assert found == ("hybrid", {"a": 0.875})
    weaker = {"full": "other", "full_dice": 0.1, "full_cases": {}}
    best = {"full": found[0], "full_dice": 0.9, "full_cases": found[1]}
    (tmp_path / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in (weaker, best, weaker)))
    assert headline.full_model(tmp_path / "records.jsonl") == found
