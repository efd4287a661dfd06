"""Two sittings by hand: which jobs run, in which order, and that the tables need nothing but the lines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from six_cases import PLANS, six_cases

from samunet.benchmarking import machines


@pytest.fixture
def study(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("five_folds")


def key(study, row: str, fold: str, shots: int | None = 5, minutes: float | None = 1.5):
    return study.Key("D", "e", row, shots, minutes, fold, 0)


def line(study, made, minutes: float) -> dict:
    return {"key": vars(made), "core_hours": minutes / 60, "cases": {}}


def test_the_cheapest_runs_first_and_measured_costs_replace_guesses(study, tmp_path: Path, capsys) -> None:
    output, ran = tmp_path / "lines.jsonl", []
    keys = [key(study, row, fold) for row in ("hybrid", "cnn_head") for fold in "01"]

    def run(made):
        ran.append((made.row, made.fold))
        return line(study, made, minutes=30.0)  # far above the guess

    # cnn_head is guessed at 1.5 + 2 minutes and hybrid at 1.5 + 8; after one line cnn_head is expected to take 30.
    study.sitting(keys, run, output, 20.0)
    assert ran == [("cnn_head", "0"), ("hybrid", "0")]
    assert "2 jobs are left, about 1.0 core-hours" in capsys.readouterr().out
    study.sitting(keys, run, output, 20.0)  # nothing is known to fit
    assert len(ran) == 2
    study.sitting(keys, run, output, 31.0)  # the budget is of processor time, which these jobs do not take
    assert ran[2:] == [("hybrid", "1"), ("cnn_head", "1")]
    study.sitting(keys, run, output, 1000.0)
    assert len(ran) == 4 and len(output.read_text().splitlines()) == 4


def test_a_job_that_fails_leaves_no_line_and_holds_up_no_other(study, tmp_path: Path) -> None:
    output, ran = tmp_path / "lines.jsonl", []

    def run(made):
        ran.append(made.fold)
        return None if made.fold == "0" else line(study, made, 1.0)

    keys = [key(study, "cnn_head", fold) for fold in "012"]
    study.sitting(keys, run, output, 60.0)
    assert ran == ["0", "1", "2"]
    study.sitting(keys, run, output, 60.0)
    assert ran == ["0", "1", "2", "0"]


def test_costs_are_those_of_the_same_row_cases_and_length(study) -> None:
    records = {key(study, "cnn_head", fold): {"core_hours": hours} for fold, hours in (("0", 0.1), ("1", 0.2))}
    assert study.expected_minutes(key(study, "cnn_head", "4"), records) == pytest.approx(9.0)
    assert study.expected_minutes(key(study, "cnn_head", "4", shots=None), records) == 3.5
    assert study.expected_minutes(key(study, "cnn_head", "4", minutes=5.0), records) == 7.0
    assert study.expected_minutes(key(study, "label_prior", "4", minutes=None), records) == 0.5


def test_lines_hold_what_a_job_found_and_its_folder_may_go(study, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(machines, "in_own_process", lambda work, *arguments: work(*arguments))
    paths = six_cases(tmp_path)
    given = ["-d", "5", "--output", str(tmp_path / "lines.jsonl"), "--rows", "label_prior", "--folds", "0", "1",
             "--shots", "2", "all", "-p", PLANS, "--encoder", "untrained", "--raw", str(paths.raw), "--preprocessed",
             str(paths.preprocessed), "--results", str(paths.results)]
    study.main([*given, "--budget_minutes", "60"])
    first = capsys.readouterr().out
    records = [json.loads(text) for text in (tmp_path / "lines.jsonl").read_text().splitlines()]
    assert [(each["key"]["shots"], each["key"]["fold"]) for each in records] == [
        (2, "0"), (2, "1"), (None, "0"), (None, "1")]
    assert [len(each["train_cases"]) for each in records] == [2, 2, 3, 3]
    assert sorted(records[0]["cases"]) == ["d", "e", "f"] and sorted(records[0]["cases"]["d"]) == ["1", "2"]
    assert all(each["patients"] == {case: case for case in "def"} for each in records[::2])
    assert all(each["core_hours"] > 0 and each["threads"] == 1 for each in records)
    shutil.rmtree(paths.results)
    study.main([*given, "--budget_minutes", "60"])
    second = capsys.readouterr().out
    table = [text for text in first.splitlines() if "`label_prior`" in text]
    assert len(table) == 2 and all(text in second for text in table)
    assert "4 of 4 jobs" in second and not paths.results.exists()
