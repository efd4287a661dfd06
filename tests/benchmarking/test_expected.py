"""What a benchmark and a search are expected to take, by figures that a person can compute."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from samunet.benchmarking import expected
from samunet.benchmarking.expected import Planned, announce_benchmark, announce_search
from samunet.benchmarking.jobs import Benchmark
from samunet.errors import UserError
from samunet.planning import expected_cost
from samunet.planning.plans import AdapterPlan, DatasetPlan, EncoderPlan, Plans

GB, MB = 10**9, 10**6
PLAN = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (10, 80, 150), False, ("MRI",), ("zscore",),
                   (False,), ({},))
# 1000 images of 131,072 bytes, 3.72 GFLOP each: 37 s at 100 GFLOP/s.
SECTION = EncoderPlan("mini-3", 256, (50, 50), 0.5, "repeat", 4, "float16", 1000 * 131_072, 1,
                      adapters=AdapterPlan(1, training_bytes=3 * GB))
BENCHMARK = Benchmark("900", ("label_prior", "cnn_head", "hybrid"), ("0", "1"), (5,), 1, "mini", "samunetPlans", "cpu",
                      minutes_head=1, minutes_network=10)


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    return Planned(Plans("samunetPlans", "Dataset900_Phantom", PLAN, {"mini-3": SECTION}), "mini", tmp_path)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch):
    def set_free(memory: int, disk: int = 10**12) -> None:
        for module in (expected, expected_cost):
            monkeypatch.setattr(module, "free_bytes", lambda: memory)
        monkeypatch.setattr(expected_cost.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(disk))

    set_free(100 * GB)
    return set_free


def announced(benchmark: Benchmark, planned: Planned, workers: int = 1) -> int:
    return announce_benchmark(benchmark, [(job, 5) for job in benchmark.jobs()], planned, planned.folder, workers)


def test_minutes_registration_and_encoding_are_added(planned, free, capsys):
    # Two folds of 1 and 10 minutes; of hybrid 5 cases x 4 others, 0.5 s for each 60,000 voxels of 120,000; 37 s of
    # encoding.
    assert announced(BENCHMARK, planned) == 1
    seconds = 2 * 11 * 60 + 2 * 20 * 0.5 * 2 + 37
    assert capsys.readouterr().err.splitlines() == [
        f"6 jobs: expected about {seconds / 60:.0f} minutes, 0.8 GB of RAM, 0.13 GB of disk",
        "(validation is not counted)"]
    (planned.folder / "samunetPlans" / "embeddings" / "mini-3").mkdir(parents=True)  # the cache is there
    announced(BENCHMARK, planned, 2)  # (1320 + 40) / 2 s
    assert capsys.readouterr().err.startswith("6 jobs: expected about 11 minutes, 1.6 GB of RAM, 0.00 GB of disk\n")


def test_a_length_that_is_not_given_is_not_known(planned, free, capsys):
    announced(replace(BENCHMARK, minutes_head=None), planned)
    assert capsys.readouterr().err.startswith("6 jobs: expected 0.8 GB of RAM")


def test_as_many_jobs_as_fit_side_by_side(planned, free, capsys):
    adapters = replace(BENCHMARK, variants=("cnn_head", "3d_adapter"))
    free(7 * GB)
    assert announced(adapters, planned, 8) == 2  # of 3 GB
    assert capsys.readouterr().err.splitlines()[1] == (
        "(validation is not counted; 2 of 8 jobs fit into memory side by side)")
    free(2 * GB)  # the adapters do not fit and fail by themselves
    assert announced(adapters, planned, 8) == 2  # of 0.8 GB
    free(800 * MB - 1)
    with pytest.raises(UserError, match="memory must have room for a training"):
        announced(adapters, planned, 8)
    assert announced(replace(adapters, device="cuda"), planned, 8) == 8


def test_nothing_is_said_where_all_jobs_are_finished(planned, free, capsys):
    assert announce_benchmark(BENCHMARK, [], planned, planned.folder, 3) == 3
    assert capsys.readouterr().err == ""


def test_a_search_registers_once(planned, free, capsys):
    announce_search(["atlas", "cnn_head", "hybrid"], 60, "cpu", 5, planned, planned.folder)
    seconds = 3600 + 20 * 0.5 * 2 + 37
    assert capsys.readouterr().err.splitlines()[0] == (
        f"comparing 3 variants: expected about {seconds / 60:.0f} minutes, 0.8 GB of RAM, 0.13 GB of disk")
    free(100 * GB, disk=130 * MB)
    with pytest.raises(UserError, match="disk must have room for comparing 3 variants"):
        announce_search(["cnn_head"] * 3, None, "cpu", 5, planned, planned.folder)
