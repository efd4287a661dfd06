"""A benchmark on four workers of which two are killed, in training and in validation, and an undisturbed one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from samunet.benchmarking.benchmark import run_benchmark
from samunet.benchmarking.jobs import Benchmark, Job
from samunet.dataset.paths import Paths
from samunet.files import make_folder, read_json
from samunet.temporaries import HOST
from samunet.workers import default_workers

ITERATIONS = 400  # eight checkpoints
ASKED = Benchmark("5", ("linear_head",), ("0", "1"), (None, 2), 1, "untrained", "tiny", "cpu", iterations=ITERATIONS)
VALIDATED = {"0": "def", "1": "abc"}
MOST_FILES = 200  # that a job's process writes
LATEST, FINAL = "checkpoint_latest.safetensors", "checkpoint_final.safetensors"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs dask"),
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(),
                       reason="needs Linux's /proc to find the workers' processes"),
]


@dataclass(frozen=True)
class Kill:
    """A killed worker, its job's process, and what the job's unfinished folder held just before."""

    job: Job
    worker: int
    process: int
    log: bytes
    final_checkpoint: bool
    predictions: dict[str, int]


def kill_in_training(paths: Paths) -> Kill:
    """Kill the worker of the first job that is found to have a checkpoint and to be training still."""
    job, worker, process = stopped_in_training(paths, None)
    return killed(job, worker, process, paths)


def kill_in_validation(paths: Paths, spared: Job) -> Kill:
    """Kill the worker of another job when one of its three validation cases is predicted.

    A pipe without a reader is put where the second will be written, whatever number its temporary name has: it holds
    the process there for as long as it takes.
    """
    job, worker, process = stopped_in_training(paths, spared)
    validation = make_folder(unfinished(job, paths) / "validation")
    owner = f"{HOST}-{process}.{started(process)}"
    pipes = [validation / f".unfinished-{owner}-{number}-{VALIDATED[job.fold][1]}.nii.gz"
             for number in range(MOST_FILES)]
    for pipe in pipes:
        os.mkfifo(pipe)
    os.kill(process, signal.SIGCONT)
    while not predictions(validation):
        time.sleep(0.01)
    os.kill(process, signal.SIGSTOP)
    kill = killed(job, worker, process, paths)
    for pipe in pipes:
        pipe.unlink(missing_ok=True)  # where the next process was quicker: it removes what the dead one left
    return kill


def started(process: int) -> str:
    """When the process started, in ticks since boot, as its temporary names have it."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]


def stopped_in_training(paths: Paths, spared: Job | None) -> tuple[Job, int, int]:
    """A job that has a checkpoint and not its last one, its worker, and its process, which stands still from now on."""
    while True:
        for job in ASKED.jobs():
            work = unfinished(job, paths)
            if job == spared or not (work / LATEST).is_file() or (found := processes_of(job)) is None:
                continue
            os.kill(found[1], signal.SIGSTOP)
            if (work / LATEST).is_file() and not (work / FINAL).is_file():
                return job, *found
            os.kill(found[1], signal.SIGCONT)
        time.sleep(0.01)


def killed(job: Job, worker: int, process: int, paths: Paths) -> Kill:
    """Kill the worker. The job's process stands still; it goes on afterwards and must end by itself."""
    work = unfinished(job, paths)
    kill = Kill(job, worker, process, (work / "log.jsonl").read_bytes(), (work / FINAL).is_file(),
                predictions(work / "validation"))
    os.kill(worker, signal.SIGKILL)
    os.kill(process, signal.SIGCONT)
    return kill


def unfinished(job: Job, paths: Paths) -> Path:
    return ASKED.folder(job, paths).with_name(f"fold_{job.fold}.unfinished")


def predictions(validation: Path) -> dict[str, int]:
    """Name of each predicted file -> when it was written, in ns."""
    return {path.name: path.stat().st_mtime_ns for path in validation.glob("[!.]*.nii.gz")}


def processes_of(job: Job) -> tuple[int, int] | None:
    """The dask worker that has the job, and the process that it started for it.

    None where there is no such process yet.
    """
    from distributed import default_client

    try:
        client = default_client()
    except ValueError:  # not yet made, or closed
        return None
    pids = client.run(os.getpid, on_error="ignore")
    # A key is the job and what distinguishes it from the same job of another call.
    worker = next((pids.get(address) for address, keys in client.processing().items()
                   if any(key.rpartition(" ")[0] == str(job) for key in keys)), None)
    started = [] if worker is None else children(worker)
    return (worker, started[0]) if started else None


def children(pid: int) -> list[int]:
    """Processes that Python's multiprocessing has spawned from any thread of `pid`."""
    found = [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]
    return [child for child in found if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def benchmarked(prepared: Path, root: Path, workers: int | None) -> tuple[Paths, Callable[[], Path]]:
    """A copy of the preprocessed data without cached embeddings, and the benchmark on it."""
    shutil.copytree(prepared / "preprocessed", root / "preprocessed")
    paths = Paths(prepared / "raw", root / "preprocessed", root / "results")
    return paths, lambda: run_benchmark(ASKED, paths, workers=workers, scheduler=None, reference=None, command="")


def test_killed_workers_leave_the_numbers_of_an_undisturbed_benchmark(
    prepared: Path, jobs_here: Callable[[], AbstractContextManager[None]], tmp_path: Path
) -> None:
    kills: list[Kill] = []

    def kill_two(paths: Paths) -> None:
        kills.append(kill_in_training(paths))
        kills.append(kill_in_validation(paths, spared=kills[0].job))

    disturbed, start = benchmarked(prepared, tmp_path / "disturbed", workers=4)
    threading.Thread(target=kill_two, args=(disturbed,), daemon=True).start()
    folder = start()
    training, validation = kills
    assert training.worker != validation.worker
    assert not any(map(is_alive, (training.worker, training.process, validation.worker, validation.process)))

    # The first went on from a checkpoint: the log's lines of before, seconds included, stand, and the others follow.
    log = (ASKED.folder(training.job, disturbed) / "log.jsonl").read_bytes()
    assert not training.final_checkpoint and not training.predictions
    assert log.startswith(training.log)
    assert 0 < len(training.log.splitlines()) < len(log.splitlines()) == ITERATIONS // 50
    # The second kept the segmentation that it had, and made the missing ones.
    after = predictions(ASKED.folder(validation.job, disturbed) / "validation")
    assert validation.final_checkpoint and len(validation.predictions) == 1 and len(after) == 3
    assert validation.predictions.items() <= after.items()

    assert all(row["why"] == "" for row in read_json(folder / "summary.json"))
    calm, start = benchmarked(prepared, tmp_path / "calm", workers=None)
    threads = max(default_workers() // 4, 1)  # as the four workers have: more give other sums
    with jobs_here(), pytest.MonkeyPatch.context() as patch:  # one after the other, in this process
        patch.setattr("samunet.benchmarking.benchmark.default_workers", lambda: threads)
        undisturbed = start()
    assert (folder / "cases.csv").read_bytes() == (undisturbed / "cases.csv").read_bytes()
    # One draw of two shots and all cases: six cases, two classes, under a line of names.
    assert len((folder / "cases.csv").read_text().splitlines()) == 1 + 2 * 6 * 2
    for job in ASKED.jobs():
        ours, theirs = (ASKED.folder(job, paths) for paths in (disturbed, calm))
        names = [FINAL, *(f"validation/{name}.nii.gz" for name in VALIDATED[job.fold])]
        assert all((ours / name).read_bytes() == (theirs / name).read_bytes() for name in names), job
