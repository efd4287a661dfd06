"""Prompts from a label, told by hand."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.dataset.labels import LabelSpace
from samunet.preprocessing.prompts.oracle import oracle_prompts

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2, "ignore": 3})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))


@pytest.fixture
def segmentation() -> np.ndarray:
    """`a` is on slices 1 and 2, `b` one voxel of slice 2; slice 0 is empty, or ignored, or outside the crop."""
    made = np.zeros((4, 8, 9), np.int16)
    made[0, :2], made[0, 2:4] = -1, 3
    made[1, 2:5, 3:8] = 1
    made[2, 3:7, 1:4] = 1
    made[2, 5, 2] = 2
    return made


def test_boxes_are_tight(segmentation) -> None:
    found = oracle_prompts(segmentation, LABELS, "box3d", 0, "x")
    assert found[1].boxes.tolist() == [[[1, 2, 1], [3, 7, 8]]] and found[2].boxes.tolist() == [[[2, 5, 2], [3, 6, 3]]]
    found = oracle_prompts(segmentation, LABELS, "slice_box", 0, "x")
    assert found[1].boxes.tolist() == [[[1, 2, 3], [2, 5, 8]], [[2, 3, 1], [3, 7, 4]]]
    assert len(found[1].points) == 0


def test_relaxed_boxes_are_larger_by_their_own_extent_and_end_with_the_image(segmentation) -> None:
    # 2 x 5 x 7 voxels: 10 % are 0.2, 0.5 and 0.7 on each side, columns ending at 9. Half of a voxel is 0.5 everywhere.
    found = oracle_prompts(segmentation, LABELS, "box3d", 0, "x", 10.0)
    np.testing.assert_allclose(found[1].boxes, [[[0.8, 1.5, 0.3], [3.2, 7.5, 8.7]]])
    found = oracle_prompts(segmentation, LABELS, "box3d", 0, "x", 50.0)
    np.testing.assert_allclose(found[1].boxes, [[[0.0, 0.0, 0.0], [4.0, 8.0, 9.0]]])
    np.testing.assert_allclose(found[2].boxes, [[[1.5, 4.5, 1.5], [3.5, 6.5, 3.5]]])
    # A slice's box stays on its slice: rows 2 to 4, columns 3 to 7.
    found = oracle_prompts(segmentation, LABELS, "slice_box", 0, "x", 10.0)
    np.testing.assert_allclose(found[1].boxes[0], [[1, 1.7, 2.5], [2, 5.3, 8.5]])


@pytest.mark.parametrize(("kind", "counts"), [("point", [0, 1, 1, 0]), ("points10", [0, 10, 10, 0])])
def test_points_lie_on_different_voxels_of_their_object(segmentation, kind, counts) -> None:
    points = oracle_prompts(segmentation, LABELS, kind, 0, "x")[1].points
    voxels = np.floor(points).astype(int)
    assert (points - voxels == 0.5).all() and (segmentation[tuple(voxels.T)] == 1).all()
    assert np.bincount(voxels[:, 0], minlength=4).tolist() == counts
    assert len(np.unique(voxels, axis=0)) == len(voxels)


def test_where_there_are_fewer_voxels_than_points_each_is_taken_once(segmentation) -> None:
    assert oracle_prompts(segmentation, LABELS, "points10", 0, "x")[2].points.tolist() == [[2.5, 5.5, 2.5]]


def test_draws_depend_on_seed_case_slice_and_class_and_on_nothing_else(segmentation) -> None:
    def points(seed: int = 0, name: str = "x") -> list:
        return oracle_prompts(segmentation, LABELS, "points10", seed, name)[1].points.tolist()

    assert points() == points() and points(seed=1) != points() != points(name="y")
    alone = segmentation.copy()
    alone[2] = 0
    assert oracle_prompts(alone, LABELS, "points10", 0, "x")[1].points.tolist() == points()[:10]
    # Written down, so that another machine or version is told apart.
    assert oracle_prompts(segmentation, LABELS, "point", 0, "x")[1].points.tolist() == [[1.5, 3.5, 3.5],
                                                                                        [2.5, 5.5, 1.5]]


@pytest.mark.parametrize("kind", ["point", "points10", "slice_box", "box3d"])
def test_an_absent_class_has_no_prompts(segmentation, kind) -> None:
    found = oracle_prompts(np.where(segmentation == 2, 1, segmentation), LABELS, kind, 0, "x")[2]
    assert found.points.shape == (0, 3) and found.boxes.shape == (0, 2, 3)


def test_regions_are_one_object_each(segmentation) -> None:
    found = oracle_prompts(segmentation, REGIONS, "slice_box", 0, "x")
    assert found[(1, 2)].boxes.tolist() == [[[1, 2, 3], [2, 5, 8]], [[2, 3, 1], [3, 7, 4]]]
    assert found[2].boxes.tolist() == [[[2, 5, 2], [3, 6, 3]]]
