"""The headline's decision by hand."""

from __future__ import annotations

from types import ModuleType

import pytest


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
