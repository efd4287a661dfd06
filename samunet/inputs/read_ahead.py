"""Items computed ahead in a thread of their own, in order, while the caller works on the ones before."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
_END: Any = object()


def read_ahead(items: Iterable[T], ahead: int = 2) -> Generator[T]:
    """Yield `items` in their order, up to `ahead` of them computed before they are needed.

    What is yielded does not depend on timing, as one thread makes one item after the other. A fault in making an item
    is raised where that item would have been yielded. Closing the iterator ends the thread after the item that it is
    at.
    """
    source = iter(items)
    thread = ThreadPoolExecutor(1, "read-ahead")
    try:
        waiting = deque(thread.submit(next, source, _END) for _ in range(ahead))
        while (item := waiting.popleft().result()) is not _END:
            waiting.append(thread.submit(next, source, _END))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)
