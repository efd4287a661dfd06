"""Where jobs run: one after the other here, or side by side on dask's workers, of this machine or of a cluster."""

from __future__ import annotations

import importlib.util
import multiprocessing
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

from samunet.benchmark.jobs import NNUNET, TRAINED_BY, Benchmark, Job
from samunet.console import say
from samunet.dataset.paths import Paths
from samunet.errors import UserError
from samunet.signals import deferred
from samunet.training.settings import Request
from samunet.workers import alone

# How often a job's process is started when it is killed, and its job handed to another worker when that died.
TRIES, LIVES = 2, 5


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `fault` is None where its run is finished; `seconds` it took now."""

    job: Job
    fault: str | None
    seconds: float


def run_job(benchmark: Benchmark, job: Job, paths: Paths, threads: int) -> Outcome:
    """Train and validate one job in a process of its own, going on where an earlier try of it was stopped.

    So each job's peak memory is its own, and one that is killed for want of memory is told of instead of ending all.

    Arguments:
        threads: of torch, recorded with the run; equal numbers need equal threads.
    """
    if multiprocessing.current_process().daemon:
        refused = UserError("A dask worker must be able to start processes.", where="--scheduler",
                            found="a worker under a nanny, which forbids it", mend="Start workers with `dask worker --no-nanny`.")
        return Outcome(job, str(refused), 0.0)
    started = time.perf_counter()
    fault = in_own_process(_train, benchmark, job, paths, threads)
    return Outcome(job, fault, time.perf_counter() - started)


def in_own_process(work: Callable[..., str | None], *arguments: object) -> str | None:
    """What `work` says was wrong, or None; it is called in a process of its own, and once more where that is killed."""
    for _ in range(TRIES):
        try:
            with alone() as process:
                return process.submit(work, *arguments).result()
        except BrokenProcessPool:
            pass
    return (f"its process was killed {TRIES} times from outside, most often because memory ran out. Run fewer jobs at a "
            "time; the next call goes on from the last checkpoint")


def train_requests(requests: Sequence[Request], paths: Paths, trained_by: str, threads: int) -> str | None:
    """Train and validate inner folds one after the other, going on with an unfinished run; what was wrong with the first that failed, or None."""
    from samunet.training.run import ensure_trained

    for request in requests:
        fault = _told(partial(ensure_trained, request, paths, trained_by=trained_by, workers=1), threads)
        if fault:
            return f"inner fold {request.inner}: {fault}"
    return None


def _train(benchmark: Benchmark, job: Job, paths: Paths, threads: int) -> str | None:
    from samunet.benchmark.nnunet import run_nnunet
    from samunet.training.run import ensure_trained

    if job.variant.startswith(NNUNET):
        return _told(lambda: run_nnunet(benchmark, job, paths), threads)
    return _told(lambda: ensure_trained(benchmark.request(job), paths, trained_by=TRAINED_BY, workers=1), threads)


def _told(call: Callable[[], None], threads: int) -> str | None:
    """What was wrong, or None. One job's fault must not end the others: it is told in the table and at the end."""
    import torch

    torch.set_num_threads(threads)
    try:
        call()
    except UserError as told:
        return str(told)
    except Exception:  # noqa: BLE001 - told below, in full
        return traceback.format_exc()
    return None


def run_here(benchmark: Benchmark, jobs: Sequence[Job], paths: Paths, threads: int) -> Iterator[Outcome]:
    """One job after the other."""
    for job in jobs:
        yield run_job(benchmark, job, paths, threads)


def run_on_dask(
    benchmark: Benchmark, jobs: Sequence[Job], paths: Paths, *, threads: int, workers: int, address: str | None
) -> Iterator[Outcome]:
    """Jobs side by side on dask workers, as they finish.

    A worker that dies takes nothing with it: its job goes on from its last checkpoint on another one. All workers must see
    the same folders.

    Arguments:
        threads: of torch, in each worker.
        workers: of the local cluster; not used with `address`.
        address: of a running scheduler; None starts a local cluster of worker processes.

    Raises:
        UserError: dask is not installed, or nothing answers at `address`.
    """
    if importlib.util.find_spec("distributed") is None:
        raise UserError("Jobs side by side need dask.", where="--scheduler / --workers", found="dask is not installed",
                        mend="Install the extra: pip install 'samunet[cluster]', or leave both flags out.")
    import dask
    from distributed import Client, LocalCluster, as_completed

    # Jobs have processes of their own, which daemons may not start.
    settings: dict[str, Any] = {"distributed.worker.daemon": False, "distributed.scheduler.allowed-failures": LIVES}
    environment = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with dask.config.set(settings), ExitStack() as opened:
        cluster = address
        if cluster is None:
            with deferred():  # Ctrl-C is this process's alone
                cluster = opened.enter_context(LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None,
                                                            env=environment))
        try:
            client = opened.enter_context(Client(cluster, timeout="30s"))
        except OSError as refused:
            raise UserError("A scheduler must answer at --scheduler.", where=str(address), found=str(refused),
                            mend="Start one with `dask scheduler`, and workers with "
                                 "`dask worker --no-nanny --nthreads 1 ADDRESS`.") from refused
        if not client.scheduler_info()["workers"]:
            say("the scheduler has no worker yet; the jobs wait for one")
        # A scheduler takes equal keys for one task, and may have another benchmark's job of the same name.
        futures = {client.submit(run_job, benchmark, job, paths, threads, pure=False, key=f"{job} {uuid4().hex}"): job
                   for job in jobs}
        for future in as_completed(list(futures)):
            fault = future.exception()
            yield Outcome(futures[future], repr(fault), 0.0) if fault else future.result()
