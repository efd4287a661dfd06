"""Simulated clicks and the curves of their scores, from arrays by hand."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.evaluation.clicks import (
    Click,
    ClickCurve,
    ClickScore,
    area,
    click_score,
    next_click,
    tie_breaker,
    tight_box,
)


def masks(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(shape, bool), np.zeros(shape, bool)


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_click_is_in_the_middle_of_the_largest_miss() -> None:
    truth, answer = masks(9, 12, 20)
    truth[1:6, 2:7, 2:7] = True  # 125 voxels, middle (3, 4, 4)
    truth[6:8, 8:11, 14:18] = True  # 24 voxels
    assert next_click(truth, answer, random()) == Click((3, 4, 4), True)
    answer[1:6, 2:7, 2:7] = True  # the larger one is answered: the other is left, without one single middle
    click = next_click(truth, answer, random())
    assert click is not None and click.positive
    assert click.place[0] in (6, 7) and click.place[1] in (8, 9, 10) and click.place[2] in (14, 15, 16, 17)


def test_the_click_on_a_false_positive_is_negative() -> None:
    truth, answer = masks(9, 12, 20)
    truth[2:5, 2:5, 2:5] = True  # 27 voxels missed
    answer[2:7, 5:10, 10:15] = True  # 125 voxels too many
    assert next_click(truth, answer, random()) == Click((4, 7, 12), False)


def test_no_error_no_click() -> None:
    truth, answer = masks(3, 4, 5)
    assert next_click(truth, answer, random()) is None
    truth[1, 1:3, 2] = answer[1, 1:3, 2] = True
    assert next_click(truth, answer, random()) is None


def test_errors_that_touch_by_a_corner_are_one() -> None:
    """3 + 3 + 2 voxels of a staircase are more than a bar of 7; of one component is what only corners join."""
    truth, answer = masks(5, 9, 12)
    truth[1, 1, 1:4] = truth[2, 2, 4:7] = truth[3, 3, 7:9] = True
    truth[2, 7, 1:8] = True
    click = next_click(truth, answer, random())
    assert click is not None and click.place[1] < 4


def test_one_component_may_be_missed_and_too_much_and_its_middle_decides() -> None:
    truth, answer = masks(7, 7, 14)
    truth[1:6, 1:6, 1:6] = True  # missed, middle (3, 3, 3)
    answer[3, 3, 6:13] = True  # a thread of false positives that touches it
    assert next_click(truth, answer, random()) == Click((3, 3, 3), True)
    answer[1:6, 1:6, 6:13], truth[1:6, 1:6, 1:6] = True, False
    truth[3, 3, 1:6] = True
    click = next_click(truth, answer, random())
    assert click is not None and not click.positive and click.place[:2] == (3, 3) and click.place[2] in (8, 9, 10)


def test_beyond_the_edge_of_the_image_is_outside() -> None:
    """A block of 3 voxels in depth in the first slices: its middle is slice 1, not the first."""
    truth, answer = masks(6, 9, 9)
    truth[:3, :3, :3] = True
    assert next_click(truth, answer, random()) == Click((1, 1, 1), True)


def test_distances_are_of_voxels() -> None:
    """A block 3 x 5 x 9: 21 voxels are 2 from the outside. With slices of 10 mm only the middle row would be."""
    truth, answer = masks(9, 11, 15)
    truth[3:6, 3:8, 3:12] = True
    places = {click.place for seed in range(300) if (click := next_click(truth, answer, random(seed)))}
    assert places == {(4, row, column) for row in (4, 5, 6) for column in range(4, 11)}


def test_ties_are_broken_by_the_generator() -> None:
    truth, answer = masks(3, 5, 9)
    truth[1, 2, 1:8] = True  # a bar of 7 voxels, each 1 from the outside
    places = [click.place[2] for seed in range(60) if (click := next_click(truth, answer, random(seed)))]
    assert set(places) == set(range(1, 8))
    assert next_click(truth, answer, random(3)) == next_click(truth, answer, random(3))


def test_of_equally_large_errors_the_first_is_taken() -> None:
    truth, answer = masks(3, 9, 9)
    truth[1, 6:9, 1] = True
    answer[1, 1, 5:8] = True  # its first voxel is in row 1
    click = next_click(truth, answer, random())
    assert click is not None and not click.positive and click.place[:2] == (1, 1)


def test_in_an_image_of_one_slice_the_middle_is_that_of_the_plane() -> None:
    truth, answer = masks(1, 9, 9)
    truth[0, 2:7, 3:8] = True
    assert next_click(truth, answer, random()) == Click((0, 4, 5), True)


def test_generators_depend_on_all_their_keys() -> None:
    keys = [(0, "a", "x", 0), (1, "a", "x", 0), (0, "b", "x", 0), (0, "a", "y", 0), (0, "a", "x", 1)]
    assert len({int(tie_breaker(*key).integers(1 << 60)) for key in keys}) == 5
    assert tie_breaker(*keys[0]).integers(1 << 60) == tie_breaker(*keys[0]).integers(1 << 60)


def test_box_of_first_and_last_voxels() -> None:
    truth, _ = masks(5, 6, 7)
    assert tight_box(truth) is None
    truth[1, 2, 3] = truth[3, 2, 5] = True
    assert tight_box(truth) == ([1, 2, 3], [3, 2, 5])


def test_scores_by_hand() -> None:
    truth, answer = masks(5, 8, 12)
    assert click_score(truth, answer, (1, 1, 1)) == ClickScore(1.0, 1.0)  # neither has the object
    truth[1:4, 2:5, 2:5] = True
    assert click_score(truth, answer, (1, 1, 1)) == ClickScore(0.0, 0.0)
    answer[1:4, 2:5, 2:6] = True  # a column more: 27 voxels of 27 and 36
    assert click_score(truth, answer, (1, 1, 1.9)) == ClickScore(54 / 63, 1.0)  # 1.9 mm off is within 2 mm
    assert click_score(truth, answer, (1, 1, 2.1)).nsd < 1  # 2.1 mm off is not
    assert click_score(truth, truth, (1, 1, 3)) == ClickScore(1.0, 1.0)


def test_areas_by_hand() -> None:
    assert area([1.0] * 5) == 4.0 and area([0.3, *[1.0] * 5]) == 4.0
    assert area([0.0, 0.2, 0.4, 0.6, 0.8, 1.0]) == pytest.approx(0.3 + 0.5 + 0.7 + 0.9)
    assert area([0.0] * 5) == 0.0


def test_a_curve_has_areas_of_its_last_five_scores() -> None:
    scores = [ClickScore(dice, nsd) for dice, nsd in [(0, 0), (0.2, 1), (0.4, 1), (0.6, 1), (0.8, 1), (1, 1)]]
    click = Click((0, 0, 0), True)
    areas = ClickCurve(tuple(scores), (click,) * 5, True).areas
    assert areas is not None and areas.dice == pytest.approx(2.4) and areas.nsd == 4.0
    assert ClickCurve(tuple(scores[:5]), (click,) * 4, True).areas is None
