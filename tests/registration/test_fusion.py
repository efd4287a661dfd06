"""Votes of a registered support, against what can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.registration.fusion import FLOOR, POWER, nonlocal_votes

ONES = np.ones((1, 1, 1, 41), np.float32)


def test_a_place_that_differs_votes_with_the_inverse_power_of_the_difference() -> None:
    fixed = np.zeros((1, 1, 41), np.float32)
    # Of a step, both ends are farther away than the search and the window reach: five equal places each.
    moved = np.where(np.arange(41) < 21, 0.0, 0.5).astype(np.float32)[None, None]
    [votes] = nonlocal_votes(fixed, moved, ONES)
    assert votes[0, 0, 0] == pytest.approx(5 * FLOOR**-POWER, rel=1e-3)
    assert votes[0, 0, -1] == pytest.approx(5 * (0.25 + FLOOR) ** -POWER, rel=1e-3)
    assert np.all(np.diff(votes[0, 0]) <= votes[0, 0, 0] * 1e-6)


def test_labels_are_taken_from_where_the_picture_is_alike_two_voxels_away_but_no_farther() -> None:
    random = np.random.default_rng(0)
    support = random.random((12, 12, 12)).astype(np.float32)
    label = (random.random((12, 12, 12)) < 0.5).astype(np.float32)

    def found(step: tuple[int, int, int]) -> np.ndarray:
        """The share of the votes in the middle of a target that equals the moved support."""
        fixed = np.roll(support, step, (0, 1, 2))
        carried, total = nonlocal_votes(fixed, support, np.stack([label, np.ones_like(label)]))
        return np.abs(carried / total - np.roll(label, step, (0, 1, 2)))[4:-4, 4:-4, 4:-4]

    for step in ((0, 0, 0), (2, 0, 0), (-1, 2, -2)):
        assert found(step).max() < 0.01
    for step in ((3, 0, 0), (2, 2, 2)):  # beyond the search; within it, but beyond the reach of 3 voxels in all
        assert found(step).max() > 0.3


def test_an_axis_of_one_slice_is_not_searched() -> None:
    fixed = np.zeros((1, 9, 9), np.float32)
    votes = nonlocal_votes(fixed, fixed, np.ones((1, 1, 9, 9), np.float32))
    # 25 places in the plane, all within reach of 3 voxels.
    assert votes == pytest.approx(25 * FLOOR**-POWER, rel=1e-3)


def test_beyond_the_border_the_outermost_voxel_continues() -> None:
    fixed = np.zeros((1, 1, 5), np.float32)
    mask = np.array([1, 0, 0, 0, 0], np.float32)[None, None, None]
    [votes] = nonlocal_votes(fixed, fixed, mask)
    # The first voxel sees places -2 to 2, of which -2, -1 and 0 hold the label; the third sees it in one of five.
    assert votes[0, 0] / FLOOR**-POWER == pytest.approx([3, 2, 1, 0, 0], rel=1e-3)
