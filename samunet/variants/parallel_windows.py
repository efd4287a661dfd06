"""Windows of one case computed side by side on a processor, each on one thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """`work` on every item, up to `threads` at once, each on one thread of PyTorch; results in the order of `items`.

    A 3D window is too small to keep several threads busy on each of its layers: two windows on a thread each take
    half to two thirds of the time that they take one after the other on two threads. As each is computed on one thread,
    the values do not depend on `threads`, where `work` alone computes.

    Arguments:
        items: taken in the caller's thread, so that its own threads are free for what makes an item; at most `threads`
            items are held beside the one that is given.
        threads: 1 calls `work` in the caller's thread, with as many threads as the caller has.
    """
    if threads == 1:
        yield from map(work, items)
        return
    own, source = torch.get_num_threads(), iter(items)
    with ThreadPoolExecutor(threads, "window", initializer=torch.set_num_threads, initargs=(1,)) as pool:
        running = deque(pool.submit(work, item) for item in islice(source, threads))
        try:
            while running:
                result = running.popleft().result()
                running.extend(pool.submit(work, item) for item in islice(source, 1))
                yield result
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(own)  # threads that start later have what was last set in any of them
