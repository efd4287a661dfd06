"""Where jobs run: one after the other in this command, or in parallel on dask workers of this machine or a cluster."""

from __future__ import annotations

import importlib.util
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

from samunet.benchmarking.jobs import NNUNET, TRAINED_BY, Benchmark, Job
from samunet.console import say
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.signals import deferred
from samunet.training.settings import Request
from samunet.workers import alone

T = TypeVar("T")

# How often the process of a job is started if it is killed, and how often a job moves to another worker if its worker
# dies.
TRIES, LIVES = 2, 5


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `fault` is its error, None on success; `seconds` is the time of this call."""

    job: Job
    fault: str | None
    seconds: float


def run_job(benchmark: Benchmark, job: Job, paths: Paths, threads: int) -> Outcome:
    """Train and validate one job in a process of its own, continuing an earlier attempt.

    Each job then has its own peak memory, and a job that is killed because memory ran out is reported without ending
    the others.

    Arguments:
        threads: torch threads, recorded in the run; equal results need equal threads.
    """
    if multiprocessing.current_process().daemon:
        refused = UserError("A dask worker must be able to start processes.", where="--scheduler",
                            found="a worker under a nanny, which forbids it",
                            mend="Start workers with `dask worker --no-nanny`.")
        return Outcome(job, str(refused), 0.0)
    started = time.perf_counter()
    fault = in_own_process(_train, benchmark, job, paths, threads)
    return Outcome(job, fault, time.perf_counter() - started)


def in_own_process(work: Callable[..., T], *arguments: object) -> T | str:
    """Call `work` in a process of its own, and once more if that is killed; returns what it does, or that it was killed
    again.
    """
    for _ in range(TRIES):
        try:
            with alone() as process:
                return process.submit(work, *arguments).result()
        except BrokenProcessPool:
            pass
    return (f"its process was killed {TRIES} times, most likely because memory ran out. Run fewer jobs in parallel; "
            "the next call continues from the last checkpoint")


def finished_jobs(benchmark: Benchmark, jobs: Sequence[Job], paths: Paths) -> frozenset[Job]:
    """The jobs that have a finished run as the benchmark asks for it, told by one process for all; nnU-Net's are not
    looked at.
    """
    there = [job for job in jobs if not job.variant.startswith(NNUNET)
             and (benchmark.folder(job, paths) / "run.json").is_file()]
    found = in_own_process(_finished, benchmark, there, paths) if there else frozenset()
    return frozenset() if isinstance(found, str) else found


def _finished(benchmark: Benchmark, jobs: Sequence[Job], paths: Paths) -> frozenset[Job]:
    from samunet.training.run import is_trained

    found = set()
    for job in jobs:
        with suppress(Exception):  # which the job will report, and which must not end the others
            if is_trained(benchmark.request(job), paths):
                found.add(job)
    return frozenset(found)


def train_requests(requests: Sequence[Request], paths: Paths, trained_by: str, threads: int) -> str | None:
    """Train and validate inner folds one by one, continuing unfinished runs; returns the first error, or None."""
    from samunet.training.run import ensure_trained

    for request in requests:
        fault = _fault_of(partial(ensure_trained, request, paths, trained_by=trained_by, workers=1), threads)
        if fault:
            return f"inner fold {request.inner}: {fault}"
    return None


def _train(benchmark: Benchmark, job: Job, paths: Paths, threads: int) -> str | None:
    from samunet.benchmarking.nnunet import run_nnunet
    from samunet.training.run import ensure_trained

    if job.variant.startswith(NNUNET):
        return _fault_of(lambda: run_nnunet(benchmark, job, paths), threads)
    return _fault_of(lambda: ensure_trained(benchmark.request(job), paths, trained_by=TRAINED_BY, workers=1), threads)


def _fault_of(call: Callable[[], None], threads: int) -> str | None:
    """The error of `call`, or None. It must not end the other jobs: the tables and the end of the output report it."""
    import torch

    torch.set_num_threads(threads)
    try:
        call()
    except UserError as fault:
        return str(fault)
    except Exception:  # noqa: BLE001 - reported in full
        return traceback.format_exc()
    return None


def run_here(benchmark: Benchmark, jobs: Sequence[Job], paths: Paths, threads: int) -> Iterator[Outcome]:
    """Run one job after the other."""
    for job in jobs:
        yield run_job(benchmark, job, paths, threads)


def run_on_dask(
    benchmark: Benchmark, jobs: Sequence[Job], paths: Paths, *, threads: int, workers: int, address: str | None
) -> Iterator[Outcome]:
    """Run jobs in parallel on dask workers; yields outcomes as they finish.

    If a worker dies, another one continues its job from the last checkpoint. All workers must see the same folders.

    Arguments:
        threads: torch threads of each worker.
        workers: number of workers of the local cluster; not used with `address`.
        address: of a running scheduler; None starts a local cluster of worker processes.

    Raises:
        UserError: dask is not installed, or no scheduler answers at `address`.
    """
    if importlib.util.find_spec("distributed") is None:
        raise UserError("Parallel jobs need dask.", where="--scheduler / --workers", found="dask is not installed",
                        mend="Install the extra: pip install 'samunet[cluster]', or leave both flags out.")
    import dask
    from distributed import Client, LocalCluster, as_completed

    # Each job starts a process, which daemons may not.
    settings: dict[str, Any] = {"distributed.worker.daemon": False, "distributed.scheduler.allowed-failures": LIVES}
    environment = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with dask.config.set(settings), ExitStack() as opened:
        cluster = address
        if cluster is None:
            with deferred():  # only this process handles Ctrl-C
                cluster = opened.enter_context(LocalCluster(n_workers=workers, threads_per_worker=1,
                                                            dashboard_address=None,
                                                            env=environment))
        try:
            client = opened.enter_context(Client(cluster, timeout="30s"))
        except OSError as refused:
            raise UserError("A scheduler must answer at --scheduler.", where=str(address), found=str(refused),
                            mend="Start one with `dask scheduler`, and workers with "
                                 "`dask worker --no-nanny --nthreads 1 ADDRESS`.") from refused
        if not client.scheduler_info()["workers"]:
            say("the scheduler has no workers yet; jobs start when one connects")
        # Equal keys are one task for a scheduler, which may have another benchmark's job of the same name.
        futures = {client.submit(run_job, benchmark, job, paths, threads, pure=False, key=f"{job} {uuid4().hex}"): job
                   for job in jobs}
        for future in as_completed(list(futures)):
            fault = future.exception()
            yield Outcome(futures[future], repr(fault), 0.0) if fault else future.result()
