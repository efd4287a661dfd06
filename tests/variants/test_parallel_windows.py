"""Windows side by side: the order, the values on one thread, how many are held, and what a fault does."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from samunet.variants.parallel_windows import side_by_side


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_results_come_in_the_order_of_the_items_whatever_ends_first(threads: int) -> None:
    first_may_end = threading.Event()

    def square(item: int) -> int:
        if item == 0 and threads > 1:
            assert first_may_end.wait(60)
        if item == 1:
            first_may_end.set()
        return item**2

    assert list(side_by_side(square, iter(range(7)), threads)) == [0, 1, 4, 9, 16, 25, 36]


def test_no_items_give_no_results() -> None:
    assert list(side_by_side(str, [], 2)) == []


def test_each_computes_on_one_thread_and_the_caller_keeps_its_own() -> None:
    assert list(side_by_side(lambda _: torch.get_num_threads(), range(4), 2)) == [1, 1, 1, 1]
    assert torch.get_num_threads() == 2
    counted: list[int] = []
    later = threading.Thread(target=lambda: counted.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert counted == [2]


def test_items_are_made_in_the_callers_thread_and_no_more_than_are_at_work() -> None:
    made: list[str] = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(threading.current_thread().name)
            yield number

    results = side_by_side(lambda number: number, items(), 3)
    assert [next(results), next(results)] == [0, 1]
    assert made == [threading.current_thread().name] * 5  # two given, three at work


def test_values_are_those_of_one_thread() -> None:
    network = torch.nn.Conv3d(1, 8, 3, padding=1)
    windows = [torch.randn(1, 1, 12, 40, 40, generator=torch.manual_seed(seed)) for seed in range(4)]

    @torch.inference_mode()
    def sums(window: torch.Tensor) -> bytes:
        values: bytes = network(window).mean((2, 3, 4)).numpy().tobytes()
        return values

    torch.set_num_threads(1)
    alone = [sums(window) for window in windows]
    torch.set_num_threads(2)
    assert list(side_by_side(sums, windows, 2)) == alone


def test_a_fault_is_raised_where_its_result_would_be() -> None:
    def broken(item: int) -> int:
        if item == 2:
            raise MemoryError("window 2")
        return item

    results = side_by_side(broken, range(9), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(MemoryError, match="window 2"):
        next(results)
