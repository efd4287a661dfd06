"""Processes that fit into memory, and what is said of a long evaluation, by figures that a person can compute."""

from __future__ import annotations

from pathlib import Path

import pytest

from samunet.errors import UserError
from samunet.evaluation import expected
from samunet.evaluation.expected import workers_for
from samunet.planning import expected_cost

MB = 10**6


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch):
    """Sets the free memory; file NUMBER has NUMBER million voxels."""
    def set_free(memory: int) -> None:
        for module in (expected, expected_cost):
            monkeypatch.setattr(module, "free_bytes", lambda: memory)

    monkeypatch.setattr(expected, "header_voxels", lambda path: int(path.name) * MB or None)
    set_free(10**11)
    return set_free


def files(*sizes: int) -> list[Path]:
    return [Path(str(size)) for size in sizes]


def test_as_many_processes_as_hold_the_largest_pair(free, tmp_path):
    # 140 MB of a process and 8 bytes of each of 100 million voxels are 940 MB.
    free(2820 * MB)
    assert workers_for(files(100, 10, 10, 10), tmp_path, 8) == 3
    free(2820 * MB - 1)
    assert workers_for(files(100, 10, 10, 10), tmp_path, 8) == 2
    free(799 * MB)  # the largest is refused when it is read: 220 MB for each of the others
    assert workers_for(files(100, 10, 10, 10), tmp_path, 8) == 3
    free(80 * MB - 1)
    with pytest.raises(UserError, match="memory must have room for a pair"):
        workers_for(files(100, 10, 10, 10), tmp_path, 8)


def test_only_long_work_is_announced(free, tmp_path, capsys):
    assert workers_for(files(100, 199), tmp_path, 1) == 1  # 299 million voxels, 5 million a second: 59.8 s
    assert capsys.readouterr().err == ""
    assert workers_for(files(100, 200, 200), tmp_path, 1) == 1
    assert capsys.readouterr().err == "evaluating 3 cases: expected about 2 minutes, 1.6 GB of RAM, 0.00 GB of disk\n"


def test_nothing_is_said_of_sizes_that_no_header_has(free, tmp_path):
    free(1)
    assert workers_for(files(100, 0), tmp_path, 5) == 5
