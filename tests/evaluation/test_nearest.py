"""Nearest distances: every route against all pairs, and where each is taken."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from samunet.evaluation import nearest
from samunet.evaluation.nearest import nearest_distances_mm


def by_all_pairs(points: np.ndarray, targets: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    return cdist(np.argwhere(points) * spacing_mm, np.argwhere(targets) * spacing_mm).min(axis=1)


def one_slab(shape: tuple[int, ...], share: float, start: int, stop: int) -> np.ndarray:
    """Random voxels between two positions on the last axis."""
    mask = np.random.default_rng([start, stop]).random(shape) < share
    mask[..., :start] = mask[..., stop:] = False
    return mask


def test_by_hand():
    points, targets = np.zeros((2, 3, 9), bool), np.zeros((2, 3, 9), bool)
    points[0, 0, 0] = points[0, 0, 8] = points[1, 2, 8] = True
    targets[0, 0, 0] = targets[1, 2, 1] = True
    # 7 along x; for the second also one slice of 10 mm and two rows of 2 mm, or 8 along x.
    assert nearest_distances_mm(points, targets, (10.0, 2.0, 1.0)).tolist() == [0, 8, 7]


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (5.0, 0.7, 0.8), (0.3, 1.1, 2.0), (1.0, 1.0), (0.6, 1.7)])
@pytest.mark.parametrize(
    "points, targets",
    [((0.3, 0, 60), (0.3, 0, 60)), ((0.01, 0, 60), (0.01, 0, 60)), ((0.002, 0, 5), (0.05, 40, 60)),
     ((0.5, 0, 20), (0.1, 40, 60))],
    ids=["near", "sparse", "few_far", "many_far"],
)
def test_equals_all_pairs(points, targets, spacing_mm):
    shape = (10, 14, 60)[-len(spacing_mm):]
    points, targets = one_slab(shape, *points), one_slab(shape, *targets)
    points.flat[0] = targets[..., 50].flat[0] = True
    expected = by_all_pairs(points, targets, spacing_mm)
    np.testing.assert_allclose(nearest_distances_mm(points, targets, spacing_mm), expected, rtol=1e-12)


@pytest.mark.parametrize("share, route", [(0.0005, "KDTree"), (0.5, "ndimage")])
def test_few_far_points_ask_a_tree_and_many_a_transform(monkeypatch, share, route):
    points, targets = one_slab((20, 30, 60), share, 0, 20), one_slab((20, 30, 60), 0.1, 40, 60)
    points[0, 0, 0] = True
    monkeypatch.setattr(nearest, route, None)
    with pytest.raises((TypeError, AttributeError)):
        nearest_distances_mm(points, targets, (1.0, 1.0, 1.0))


def test_steps_are_complete_and_shortest_first():
    steps, lengths_mm = nearest._steps_outwards((1.0, 1.0, 1.0))
    assert len(steps) == 257  # whole-number points in a ball of radius 4
    assert lengths_mm[0] == 0 and lengths_mm[-1] == 4 and (np.diff(lengths_mm) >= 0).all()
    # Slices of 10 mm lie beyond the reach; in the plane there are 49.
    assert len(nearest._steps_outwards((10.0, 1.0, 1.0))[0]) == 49
