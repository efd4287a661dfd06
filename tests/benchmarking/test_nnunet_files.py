"""JSON of an nnU-Net run: what is read of it, and the message where it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from samunet.benchmarking.nnunet_files import finished_request, plans_with_batch, read_budget, read_seconds
from samunet.errors import UserError

BUDGET = {"iterations": 50, "batch_size": 2, "seconds": 1.5, "parameters": 7, "threads": 1, "minutes": 0.1}


def written(folder: Path, content: object) -> Path:
    path = folder / "file.json"
    path.write_text(json.dumps(content))
    return path


def test_the_batch_is_at_most_the_reference_and_all_else_stays(tmp_path: Path) -> None:
    plans = {"more": float("nan"), "configurations": {"2d": {"batch_size": 50, "patch_size": [4, 4]},
                                                      "3d_fullres": {"batch_size": 2}}}
    found = plans_with_batch(written(tmp_path, plans), "2d", 12)
    assert found["configurations"] == {"2d": {"batch_size": 12, "patch_size": [4, 4]}, "3d_fullres": {"batch_size": 2}}
    with pytest.raises(UserError, match="(?s)must plan the configuration.*2d, 3d_fullres"):
        plans_with_batch(written(tmp_path, plans), "3d_lowres", 2)


def test_a_missing_run_has_no_request(tmp_path: Path) -> None:
    assert (finished_request(tmp_path / "run.json"), read_seconds(tmp_path / "seconds.json")) == (None, {})
    assert finished_request(written(tmp_path, {"asked": {"train": ["a"]}, "seconds": {}})) == {"train": ["a"]}
    assert read_budget(written(tmp_path, BUDGET)) == BUDGET


@pytest.mark.parametrize(("read", "content", "field"), [
    (finished_request, [], "got `array`"), (finished_request, {}, "no `asked`"),
    (finished_request, {"asked": None}, "$.asked"),
    (read_seconds, [], "got `array`"), (read_seconds, {"training": "1"}, "$.training"),
    (read_seconds, {"training": float("inf")}, "$.training"),
    (read_budget, {}, "no `iterations`"), (read_budget, {**BUDGET, "seconds": None}, "$.seconds"),
    (lambda path: plans_with_batch(path, "2d", 12), {"configurations": []}, "$.configurations"),
    (lambda path: plans_with_batch(path, "2d", 12), {"configurations": {"2d": {"batch_size": "2"}}}, "$.batch_size"),
])
def test_damaged_files_are_reported_with_their_field(tmp_path: Path, read, content: object, field: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(UserError) as caught:
        read(path)
    assert field in caught.value.found and caught.value.where == str(path)
