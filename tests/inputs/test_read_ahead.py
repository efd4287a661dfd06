"""Items made in another thread: the same ones, in order, with their faults."""

from __future__ import annotations

import threading

import pytest

from samunet.inputs.read_ahead import read_ahead


def test_items_come_in_order_and_end() -> None:
    assert list(read_ahead(number * number for number in range(5))) == [0, 1, 4, 9, 16]
    assert list(read_ahead([])) == []


def test_only_so_many_are_made_ahead() -> None:
    made, third = [], threading.Event()

    def numbers():
        for number in range(10):
            made.append(number)
            if number == 2:
                third.set()
            yield number

    ahead = read_ahead(numbers(), 2)
    assert next(ahead) == 0
    # Number 2 is begun when number 0 is handed over; number 3 only when number 1 is asked for.
    assert third.wait(10) and made == [0, 1, 2]
    ahead.close()
    assert made == [0, 1, 2]


def test_a_fault_is_raised_where_its_item_would_be() -> None:
    def numbers():
        yield 1
        raise ValueError("two is broken")

    ahead = read_ahead(numbers())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="two is broken"):
        next(ahead)
