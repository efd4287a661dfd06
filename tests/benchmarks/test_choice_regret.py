"""Regret by hand."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType

import pytest

from samunet.dataset.paths import Paths
from samunet.files import make_folder, write_json


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


def test_hindsight_reads_the_draws_finished_runs(regret, tmp_path: Path) -> None:
    paths = Paths(tmp_path / "raw", tmp_path / "preprocessed", tmp_path / "results")
    make_folder(paths.raw / "Dataset004_Made")
    write_json(paths.raw / "Dataset004_Made" / "dataset.json", {})
    for variant, folder, dice in (("atlas", "shots5_draw1/fold_0", 0.75), ("unet", "shots5_draw0/fold_0", 0.5),
                                  ("hybrid", "shots5_draw1/fold_1", 0.5), ("cnn_head", "shots5_draw1/fold_0", 0.25)):
        place = make_folder(paths.results / "Dataset004_Made" / f"{variant}__samunetPlans__mini-3" / folder / "validation")
        write_json(place / "summary.json", {"foreground_mean": {"Dice": dice}})
    asked = argparse.Namespace(dataset="4", shots=5, fold="0")
    assert regret.hindsight(asked, paths, 1) == {"atlas": 0.75, "cnn_head": 0.25}
