"""The SLURM template of documentation/how-to/clusters.md: the script that it hands to sbatch, and jobs on the worker
that this starts.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from samunet.benchmarking.benchmark import run_benchmark
from samunet.benchmarking.jobs import Benchmark, Job
from samunet.benchmarking.machines import run_job
from samunet.dataset.paths import Paths
from samunet.files import read_json

TEXT = Path(__file__).parents[2] / "documentation" / "how-to" / "clusters.md"
PRIOR = Benchmark("5", ("label_prior",), ("0",), (2,), 1, "untrained", "tiny", "cpu")
needs_jobqueue = pytest.mark.skipif(importlib.util.find_spec("dask_jobqueue") is None, reason="needs dask-jobqueue")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Any]:
    """What the template calls `cluster`, before it requests workers."""
    [template] = re.findall(r"```python\n(.*?)```", TEXT.read_text(encoding="utf-8"), re.DOTALL)
    made, found, _ = template.partition("cluster.scale(jobs=10)")
    assert found
    (tmp_path / "template.py").write_text(made, encoding="utf-8")
    with runpy.run_path(str(tmp_path / "template.py"))["cluster"] as cluster:
        yield cluster


@needs_jobqueue
def test_the_job_script_requests_one_worker_for_one_job_at_a_time(cluster: Any) -> None:
    lines = cluster.job_script().splitlines()
    assert {"#SBATCH -n 1", "#SBATCH --cpus-per-task=2", "#SBATCH --mem=30G", "#SBATCH -t 12:00:00",
            "#SBATCH --gres=gpu:1"} <= {*lines}
    assert f"distributed.cli.dask_worker {cluster.scheduler_address} " in lines[-1]
    assert all(flag in lines[-1] for flag in ("--nthreads 1 ", "--no-nanny", "--death-timeout 600"))
    assert "--nworkers" not in lines[-1]
    assert cluster.scheduler.allowed_failures == 5


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of SLURM, two scripts that start and end the job script here; all else is as it would be there.

    As SLURM does, sbatch keeps a copy of the script: dask-jobqueue removes its own as soon as sbatch returns.
    """
    start = 'cp "$1" "$0.job"\nnohup bash "$0.job" > "$0.out" 2>&1 &\necho "Submitted batch job $!"'
    commands = {"sbatch": start, "scancel": 'kill "$@"'}
    for name, command in commands.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{command}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


@needs_jobqueue
@pytest.mark.slow
@pytest.mark.usefixtures("slurm")  # before the cluster, and so until it is closed
def test_a_benchmark_runs_on_the_worker_that_the_job_script_starts(cluster: Any, paths: Paths) -> None:
    cluster.scale(jobs=1)
    folder = run_benchmark(PRIOR, paths, workers=None, scheduler=cluster.scheduler_address, reference=None, command="")
    [row] = read_json(folder / "summary.json")
    assert (row["method"], row["why"]) == ("label_prior", "")
    assert read_json(PRIOR.folder(Job("label_prior", "0", 2, 0), paths) / "run.json")["threads"] == 1


def test_a_worker_under_a_nanny_says_how_to_start_one_without(paths: Paths) -> None:
    # a pool's processes are daemons, as a nanny's workers
    with multiprocessing.get_context("spawn").Pool(1) as daemons:
        outcome = daemons.apply(run_job, (PRIOR, Job("label_prior", "0", 2, 0), paths, 1))
    assert outcome.fault and "able to start processes" in outcome.fault and "--no-nanny" in outcome.fault
    assert not paths.results.exists()
