"""Largest components by hand."""

from __future__ import annotations

import numpy as np

from samunet.selection.components import keep_largest, keep_largest_of_each


def row(*values: int) -> np.ndarray:
    return np.array(values, np.int16).reshape(1, 1, -1)


def kept(segmentation: np.ndarray, *steps: tuple[int, ...]) -> list[int]:
    return keep_largest_of_each(segmentation, steps).ravel().tolist()


def test_the_largest_component_of_one_label_stays() -> None:
    segmentation = row(1, 0, 1, 1, 2, 1)
    assert kept(segmentation, (1,)) == [0, 0, 1, 1, 2, 0]
    assert kept(segmentation, (1, 2)) == [0, 0, 1, 1, 2, 1]
    assert segmentation.ravel().tolist() == [1, 0, 1, 1, 2, 1]  # the input is not changed


def test_equal_components_all_stay_and_nothing_is_nothing() -> None:
    assert kept(row(1, 0, 1, 0, 2), (1,)) == [1, 0, 1, 0, 2]
    empty = row(0, 2)
    assert keep_largest(empty, [1]) is empty


def test_corners_connect() -> None:
    segmentation = np.zeros((2, 3, 3), np.int16)
    segmentation[0, 0, 0] = segmentation[1, 1, 1] = segmentation[0, 2, 2] = 1
    assert keep_largest(segmentation, [1]).sum() == 3
    segmentation[1, 1, 1] = 0
    segmentation[1, 2, 2] = 1
    assert keep_largest(segmentation, [1]).sum() == 2


def test_steps_follow_each_other() -> None:
    assert kept(row(1, 2, 2, 0, 1, 1), (1, 2), (1,)) == [1, 2, 2, 0, 0, 0]
    assert kept(row(2, 2, 2, 1, 0, 1, 1), (1, 2), (1,)) == [2, 2, 2, 1, 0, 0, 0]
    assert kept(row(2, 2, 2, 1, 0, 1, 1), (1,), (1, 2)) == [2, 2, 2, 0, 0, 0, 0]
