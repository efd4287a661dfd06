from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
import SimpleITK as sitk

from samunet.registration.itk_threads import one_itk_thread


def threads() -> int:
    return sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = threads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(3)
    yield
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def test_what_was_set_is_back_after_the_outermost_block_and_after_a_fault() -> None:
    with one_itk_thread():
        with one_itk_thread():
            assert threads() == 1
        assert threads() == 1
    assert threads() == 3
    with pytest.raises(RuntimeError), one_itk_thread():
        raise RuntimeError
    assert threads() == 3


def test_of_blocks_side_by_side_the_last_restores() -> None:
    both_inside, first_left = Barrier(2), Barrier(2)

    def first() -> None:
        with one_itk_thread():
            both_inside.wait()
        first_left.wait()

    def second() -> int:
        with one_itk_thread():
            both_inside.wait()
            first_left.wait()
            return threads()

    with ThreadPoolExecutor(2) as pool:
        pool.submit(first)
        assert pool.submit(second).result() == 1
    assert threads() == 3
