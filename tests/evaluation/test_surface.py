"""HD95, NSD and ASSD: values by hand, then parity with surface-distance and MedPy."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import surface_distance
from medpy.metric import binary
from scipy import ndimage

from samunet.evaluation.surface import surface_distances, surface_metrics

SHAPE = (14, 20, 17)
SPACINGS_MM = {3: [(1.0, 1.0, 1.0), (5.0, 0.7, 0.8), (0.3, 1.1, 2.0)], 2: [(1.0, 1.0), (0.6, 1.7)]}


def blob(shape: tuple[int, ...], seed: int, threshold: float = 0.0) -> np.ndarray:
    """A smooth random mask that touches the borders."""
    noise = np.random.default_rng([seed, len(shape)]).standard_normal(shape)
    return ndimage.gaussian_filter(noise, 1.5) > threshold


def box(shape: tuple[int, ...], *ranges: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*r) for r in ranges)] = True
    return mask


def pairs(dimensions: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    shape = SHAPE[:dimensions]
    last = tuple((size - 1, size) for size in shape)
    random = np.random.default_rng([7, dimensions])
    return {
        "smooth": (blob(shape, 1), blob(shape, 2)),
        "sparse": (blob(shape, 3, 0.2), blob(shape, 4, 0.15)),
        "noise": (random.random(shape) > 0.5, random.random(shape) > 0.9),
        "equal": (blob(shape, 5), blob(shape, 5)),
        "single_voxels": (box(shape, *[(3, 4)] * dimensions), box(shape, *[(5, 6), (9, 10), (4, 5)][:dimensions])),
        "corner_voxels": (box(shape, *[(0, 1)] * dimensions), box(shape, *last)),
        "whole_image": (np.ones(shape, bool), box(shape, *[(0, 6)] * dimensions)),
        "plane": (box(shape, *[(4, 5), (0, 20), (0, 17)][:dimensions]), blob(shape, 6)),
    }


CASES = [
    pytest.param(*masks, spacing_mm, id=f"{name}-{spacing_mm}")
    for dimensions in (3, 2)
    for name, masks in pairs(dimensions).items()
    for spacing_mm in SPACINGS_MM[dimensions]
]


def test_two_planes_lie_as_far_apart_as_their_slices():
    shape = (8, 6, 6)
    upper, lower = box(shape, (1, 2), (0, 6), (0, 6)), box(shape, (4, 5), (0, 6), (0, 6))
    metrics = surface_metrics(upper, lower, (2.5, 1, 1), tolerance_mm=7.4)
    assert metrics.hd95_mm == pytest.approx(7.5)
    assert metrics.assd_mm == pytest.approx(7.5)
    # Each plate's near side is 2 slices from the other plate's, its far side 3, and both sides are equally large.
    assert metrics.nsd == pytest.approx(0.5)
    assert surface_metrics(upper, lower, (2.5, 1, 1), tolerance_mm=7.5).nsd == 1


def test_single_voxels_a_pythagorean_triple_apart():
    reference, prediction = box((1, 9, 9), (0, 1), (1, 2), (1, 2)), box((1, 9, 9), (0, 1), (4, 5), (5, 6))
    metrics = surface_metrics(reference, prediction, (999, 1, 1), tolerance_mm=1)
    assert metrics.assd_mm == 5
    # The corners that face each other are (2, 2) and (4, 5); those that do not, (1, 1) and (5, 6).
    assert metrics.hd95_mm == pytest.approx(5)
    assert metrics.nsd == 0


def test_empty_masks():
    empty, full = np.zeros((3, 4, 5), bool), np.ones((3, 4, 5), bool)
    both = surface_metrics(empty, empty, (1, 1, 1), 1)
    assert all(math.isnan(value) for value in (both.hd95_mm, both.assd_mm, both.nsd))
    for one in (surface_metrics(empty, full, (1, 1, 1), 1), surface_metrics(full, empty, (1, 1, 1), 1)):
        assert (one.hd95_mm, one.assd_mm, one.nsd) == (math.inf, math.inf, 0)


def test_one_slice_is_measured_as_a_contour():
    reference, prediction = pairs(2)["smooth"]
    flat = surface_metrics(reference[None], prediction[None], (999, 0.6, 1.7), 1)
    assert flat == surface_metrics(reference, prediction, (0.6, 1.7), 1)


@pytest.mark.parametrize("reference, prediction, spacing_mm", CASES)
def test_hd95_and_nsd_equal_surface_distance(reference, prediction, spacing_mm):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it uses SciPy names that will vanish
        theirs = surface_distance.compute_surface_distances(reference, prediction, spacing_mm)
    ours = surface_metrics(reference, prediction, spacing_mm, 1)
    assert ours.hd95_mm == pytest.approx(surface_distance.compute_robust_hausdorff(theirs, 95), abs=1e-6)
    distances = surface_distances(reference, prediction, spacing_mm)
    for tolerance_mm in (0.0, 0.5, 1.0, 2.0, 5.0):
        expected = surface_distance.compute_surface_dice_at_tolerance(theirs, tolerance_mm)
        assert distances.surface_dice(tolerance_mm) == pytest.approx(expected, abs=1e-6)
    for percent in (0, 50, 100):
        expected = surface_distance.compute_robust_hausdorff(theirs, percent)
        assert distances.hausdorff_mm(percent) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("reference, prediction, spacing_mm", CASES)
def test_assd_equals_medpy(reference, prediction, spacing_mm):
    expected = binary.assd(prediction, reference, voxelspacing=spacing_mm, connectivity=1)
    assert surface_metrics(reference, prediction, spacing_mm, 1).assd_mm == pytest.approx(expected, abs=1e-6)
