"""Work on cases in parallel, in fresh processes; errors name the case, and a bad case does not stop the others."""

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
from samunet.errors import BadCases, UserError
from samunet.signals import deferred

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_workers() -> int:
    """Default of `-np`: the number of processors that this process may use, at most 8."""
    return min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1), 8)


def each_case(
    work: Callable[[Item], Result], items: Sequence[Item], names: Sequence[str], workers: int
) -> Iterator[tuple[str, Result]]:
    """Run `work` on every item and yield (name, result) as they finish. A bad case does not stop the others.

    `work` must be importable by name (spawned processes). With `workers` <= 1 everything runs here, in order.
    At most 2 * `workers` items are in progress, which bounds memory. If a worker is killed, the cases in progress run
    again, one by one, so that the error names the failing case.

    Raises:
        BadCases: after all others are done, the problems of cases in the order of `names`: bad input, too little
            memory, a killed worker.
        RuntimeError: at once, an internal fault, with the case's name and the worker's own traceback.
    """
    faults: dict[str, UserError] = {}
    for name, call in _calls(work, items, names, workers):
        try:
            finished = _outcome(name, call)
        except UserError as fault:
            faults[name] = fault
        else:
            yield name, finished
    if faults:
        raise BadCases([faults[name] for name in names if name in faults])


def _calls(
    work: Callable[[Item], Result], items: Sequence[Item], names: Sequence[str], workers: int
) -> Iterator[tuple[str, Callable[[], Result]]]:
    """(name, call that returns or raises the outcome) of every item; without workers the call does the work."""
    if workers <= 1 or len(items) <= 1:
        for name, item in zip(names, items, strict=True):
            yield name, partial(work, item)
        return
    waiting = list(zip(names, items, strict=True))[::-1]
    while waiting:
        under_way: dict[str, Item] = {}
        yield from _in_pool(work, waiting, workers, under_way)
        for name, item in under_way.items():  # after a killed worker
            yield name, partial(_in_own_process, work, item)


def _in_pool(
    work: Callable[[Item], Result], waiting: list[tuple[str, Item]], workers: int, under_way: dict[str, Item]
) -> Iterator[tuple[str, Callable[[], Result]]]:
    """As `_calls`, for the items `waiting`, last first, until all are done or a killed worker ends the pool.

    `under_way` holds the items that have started and have no outcome.
    """
    with Workers(min(workers, len(waiting))) as pool:
        running: dict[Future[tuple[Result, list[str]]], str] = {}
        try:
            while waiting or running:
                while waiting and len(running) < 2 * workers:
                    name, item = waiting.pop()
                    under_way[name] = item
                    running[pool.submit(_with_lines, work, item)] = name
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        return
                    del under_way[name]
                    yield name, partial(_heard, future)
        except BrokenProcessPool:  # raised by `submit`
            return
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_own_process(work: Callable[[Item], Result], item: Item) -> Result:
    with alone() as pool:
        result: Result = _heard(pool.submit(_with_lines, work, item))
    return result


class Workers(ProcessPoolExecutor):
    """Fresh processes that end with this one. They do not get Ctrl-C: this process handles it and ends them."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)

    def submit(self, work: Callable[..., Result], /, *arguments: Any, **named: Any) -> Future[Result]:
        """As the pool's own, with signals deferred while a process may start."""
        with deferred():
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
    """End this worker when the command is killed; otherwise it would run in parallel with a restarted command."""
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


def out_of_memory(name: str, fault: BaseException) -> UserError:
    """The error for a case that needs more memory than available."""
    return UserError(
        "A case must fit into memory.",
        where=f"case {name}",
        found=str(fault) or "no memory",
        mend="Close other programs, use fewer processes (-np 1), or crop or split the images.",
    )


def _outcome(name: str, call: Callable[[], Result]) -> Result:
    try:
        return call()
    except UserError:
        raise
    except MemoryError as fault:
        raise out_of_memory(name, fault) from fault
    except BrokenProcessPool as fault:
        raise UserError(
            "A worker process must live until its case is done.",
            where=f"case {name}",
            found="it was killed from outside, twice, probably because memory ran out",
            mend="Run again with fewer processes (-np 1), or crop the images; finished cases stay.",
        ) from fault
    except Exception as fault:
        raise RuntimeError(f"case {name}: {type(fault).__name__}: {fault}") from fault
