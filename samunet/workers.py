"""Cases worked on side by side, in fresh processes whose faults are told with the case's name."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, TypeVar

from samunet.console import lines_held, say_once
from samunet.errors import UserError
from samunet.signals import deferred

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_workers() -> int:
    """Processes used where `-np` is not given: the processors that this process may use, at most 8."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1), 8)


def each_case(
    work: Callable[[Item], Result], items: Sequence[Item], names: Sequence[str], workers: int
) -> Iterator[tuple[str, Result]]:
    """Run `work` on every item and yield (name, result) as they finish.

    `work` must be importable by name (spawned processes). With `workers` <= 1 everything runs here, in order.
    At most 2 * `workers` items are under way, so that memory stays bounded. A UserError of one case passes through as
    it is; any other fault is raised with the case's name and the worker's own traceback.

    Raises:
        UserError: bad input, or a worker that was killed (most often for want of memory).
        RuntimeError: an internal fault in a worker.
    """
    if workers <= 1 or len(items) <= 1:
        for name, item in zip(names, items, strict=True):
            yield name, _told(name, partial(work, item))
        return
    waiting = list(zip(names, items, strict=True))[::-1]
    with Workers(min(workers, len(items))) as pool:
        running: dict[Future[tuple[Result, list[str]]], str] = {}
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:
                    name, item = waiting.pop()
                    running[pool.submit(_with_lines, work, item)] = name
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    yield name, _told(name, partial(_heard, future), [name, *running.values()])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class Workers(ProcessPoolExecutor):
    """Fresh processes that end with this one, and to which Ctrl-C does not come: this one answers it and ends them."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)

    def submit(self, work: Callable[..., Result], /, *arguments: Any, **named: Any) -> Future[Result]:
        with deferred():  # it may start a process
            return super().submit(work, *arguments, **named)


def alone() -> Workers:
    """A pool of one fresh process; leaving its `with` block waits for it."""
    return Workers(1)


def _with_lines(work: Callable[[Item], Result], item: Item) -> tuple[Result, list[str]]:
    """In a worker: the result, and the lines that the command prints once."""
    with lines_held() as lines:
        return work(item), lines


def _heard(future: Future[tuple[Result, list[str]]]) -> Result:
    result, lines = future.result()
    for line in lines:
        say_once(line)
    return result


def _end_with_parent() -> None:
    """End this worker when the command is killed; else it would work on, beside the command that is started again."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def end_group_with_parent() -> None:
    """End this process's group, which it leads, when its parent has died: for programs with processes of their own."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.killpg(0, signal.SIGKILL)

    if hasattr(os, "killpg"):  # POSIX
        threading.Thread(target=watch, daemon=True).start()


def _told(name: str, call: Callable[[], Result], under_way: Sequence[str] = ()) -> Result:
    try:
        return call()
    except UserError:
        raise
    except BrokenProcessPool as fault:
        raise UserError(
            "A worker process must live until its case is done.",
            where=f"one of the cases {', '.join(under_way)}",
            found="it was killed from outside, most often because memory ran out",
            mend="Run again with fewer processes (-np 1); finished cases are kept.",
        ) from fault
    except Exception as fault:
        raise RuntimeError(f"case {name}: {type(fault).__name__}: {fault}") from fault
