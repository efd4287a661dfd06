"""The synthetic anatomy, the table by hand, and a rehearsal of the whole study at tiny sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture
def study(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("embedding_worth")


def test_patients_are_the_same_at_every_size_and_the_target_has_its_radius(script) -> None:
    anatomy = script("synthetic_anatomy")
    masks = {size: anatomy.patients(anatomy.Size(*size), 3, 9, 0)[1] for size in ((64, 0.2), (32, 0.2), (64, 0.4))}
    for size, mask in masks.items():
        area = mask.flatten(2).sum(2).amax(1).float().mean()  # the middle slice of each patient, over patients
        disc = torch.pi * (size[0] * size[1] / 2) ** 2
        assert abs(float(area) / disc - 1) < 0.25, (size, area, disc)
    assert not torch.equal(masks[64, 0.2][0], masks[64, 0.2][1])
    coarse = torch.nn.functional.interpolate(masks[64, 0.2].float(), (32, 32), mode="area") > 0.5
    both = (coarse & masks[32, 0.2].bool()).sum()
    assert 2 * both / (coarse.sum() + masks[32, 0.2].sum()) > 0.85  # the same place and shape in half as many pixels


def test_the_table_has_each_reader_and_what_is_paired(study) -> None:
    key, dice = study.Key, {"none": (0.5, 0.6), "hybrid_mini": (0.6, 0.7), "head_mini": (0.3, 0.3)}
    records = {key("D", "e", row, 5, None, "1", 0): {"dice": {"a": first, "b": second}, "core_hours": 0.5}
               for row, (first, second) in dice.items()}
    assert study.table(records, ["D"], {"D": None}).splitlines()[2:] == [
        "| D | 0.550 | 0.650 |  | 0.300 |  | +0.100 [+0.100, +0.100] |  |  |", "", "1.50 core-hours in 3 jobs"]


@pytest.mark.slow
def test_the_whole_study_at_tiny_sizes_and_a_second_call_runs_nothing(
    study, tmp_path: Path, monkeypatch, capsys
) -> None:
    for part in ("raw", "preprocessed", "results"):
        (tmp_path / part).mkdir()
        monkeypatch.setenv(f"samunet_{part}", str(tmp_path / part))
    given = ["--sizes", "32", "--radii", "0.4", "--cases", "6", "--slices", "4", "--shots", "2", "--iterations", "2",
             "--output", str(tmp_path / "lines.jsonl")]
    study.main(given)
    assert len((tmp_path / "lines.jsonl").read_text().splitlines()) == 5
    monkeypatch.setattr(study, "made", None)
    study.main(given)
    again = capsys.readouterr().out
    assert "5 jobs" in again and again.split("| Dataset910_Anatomy32x400 |")[1].count("[") == 3
