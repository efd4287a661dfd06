"""Regret by hand."""

from __future__ import annotations

from types import ModuleType

import pytest


@pytest.fixture
def regret(script) -> ModuleType:
    return script("choice_regret")


def test_regret_is_what_the_best_has_more(regret) -> None:
    found = regret.judged("atlas", {"atlas": 0.75, "hybrid": 0.875, "unet": 0.5})
    assert (found["best"], found["regret"]) == ("hybrid", 0.125)
    assert regret.judged("hybrid", {"atlas": 0.75, "hybrid": 0.875})["regret"] == 0


def test_a_chosen_variant_that_was_never_trained_ends_it(regret) -> None:
    with pytest.raises(SystemExit, match="lora, there are atlas"):
        regret.judged("lora", {"atlas": 0.75})


def test_hindsight_reads_the_draws_rows(regret) -> None:
    rows = [{"method": "atlas", "shots": "5", "draws": "0.842, 0.750"},
            {"method": "unet", "shots": "5", "draws": "0.500"},
            {"method": "hybrid", "shots": "1", "draws": "0.700, 0.800"},
            {"method": "atlas", "shots": "5 (10 slices)", "draws": "0.1, 0.2"},
            {"method": "lora", "shots": "5", "Dice": "not run"}]
    records = [{"rows": rows[:1]}, {"rows": rows[1:]}]
    assert regret.hindsight(records, 5, 1) == {"atlas": 0.75}
    assert regret.hindsight(records, 5, 0) == {"atlas": 0.842, "unet": 0.5}
