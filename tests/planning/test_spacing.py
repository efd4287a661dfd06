from __future__ import annotations

import numpy as np
import pytest

from samunet.errors import UserError
from samunet.planning.spacing import checked_spacing, reordered, resampled_shape, slice_axis_first, target_spacing


def test_median_of_each_axis_where_spacing_is_even():
    spacing, reason = target_spacing([(1.0, 1.0, 1.0), (2.0, 1.0, 0.5), (3.0, 1.0, 0.7)], [(40, 40, 40)] * 3)
    assert spacing == (2.0, 1.0, 0.7)
    assert reason == "median of 3 cases, each axis alone"


def test_a_coarse_and_short_axis_takes_its_tenth_percentile():
    spacings = [(z, 1.5, 1.5) for z in (5.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0)]
    spacing, reason = target_spacing(spacings, [(9, 200, 200)] * 11)
    # The tenth percentile of 11 sorted values is the second of them.
    assert spacing == (10.0, 1.5, 1.5)
    spacing, _ = target_spacing([(5.0, 1.5, 1.5), *spacings[:10]], [(9, 200, 200)] * 11)
    assert spacing == (5.0, 1.5, 1.5)
    assert "axis 0 (median 10 mm, 9 voxels)" in reason and "10th percentile" in reason


def test_a_coarse_axis_with_many_voxels_keeps_its_median():
    spacing, _ = target_spacing([(2.0, 1.0, 1.0)] * 5 + [(8.0, 1.0, 1.0)] * 6, [(100, 200, 200)] * 11)
    assert spacing == (8.0, 1.0, 1.0)


def test_the_tenth_percentile_never_falls_below_the_other_axes():
    spacings = [(1.0, 1.5, 1.5)] * 4 + [(10.0, 1.5, 1.5)] * 6
    spacing, _ = target_spacing(spacings, [(9, 200, 200)] * 10)
    assert spacing == (1.5 + 1e-5, 1.5, 1.5)


def test_the_coarsest_axis_comes_first():
    assert slice_axis_first((1.0, 1.0, 1.0)) == ((0, 1, 2), (0, 1, 2))
    assert slice_axis_first((1.0, 3.0, 1.0)) == ((1, 0, 2), (1, 0, 2))
    forward, backward = slice_axis_first((0.5, 1.0, 3.0))
    assert (forward, backward) == ((2, 0, 1), (1, 2, 0))
    assert reordered(reordered("zyx", forward), backward) == tuple("zyx")


def test_resampled_shape_rounds_halves_to_even_as_nnunet_does():
    assert resampled_shape((10, 10, 5), (1.0, 2.0, 0.5), (2.0, 1.0, 1.0)) == (5, 20, 2)


@pytest.mark.parametrize("given", [(1, 1), (0, 1, 1), (1, -2, 1), (1, float("nan"), 1)])
def test_a_spacing_by_hand_is_three_positive_numbers(given):
    with pytest.raises(UserError, match="three positive numbers"):
        checked_spacing(given)


def test_target_and_transpose_equal_nnunets_on_random_fingerprints():
    planners = pytest.importorskip("nnunetv2.experiment_planning.experiment_planners.default_experiment_planner")
    generator = np.random.default_rng(0)
    anisotropic = 0
    for _ in range(200):
        cases = int(generator.integers(1, 12))
        base = generator.choice([0.5, 1.0, 3.0, 5.0, 10.0], 3)
        spacings = base * generator.uniform(0.3, 1.7, (cases, 3))
        shapes = np.maximum(generator.integers(4, 400, 3) * generator.uniform(0.7, 1.3, (cases, 3)), 1).astype(int)
        planner = planners.ExperimentPlanner.__new__(planners.ExperimentPlanner)
        planner.overwrite_target_spacing, planner.anisotropy_threshold, planner.suppress_transpose = None, 3, False
        planner.dataset_fingerprint = {"spacings": spacings.tolist(), "shapes_after_crop": shapes.tolist()}
        spacing, reason = target_spacing(spacings.tolist(), shapes.tolist())
        anisotropic += "percentile" in reason
        assert spacing == tuple(planner.determine_fullres_target_spacing())
        forward, backward = slice_axis_first(spacing)
        assert (list(forward), list(backward)) == tuple(list(map(int, axes)) for axes in planner.determine_transpose())
    assert 5 < anisotropic < 195


def test_a_2d_file_keeps_its_one_slice():
    # Pixels of 2 mm on a grid of 1.25 mm: 60 x 2 / 1.25 = 96 and 64; the slice would become 999 x 2 / 650 = 3.
    assert resampled_shape((1, 60, 40), (1998.0, 2.0, 2.0), (650.0, 1.25, 1.25)) == (1, 96, 64)
    assert resampled_shape((60, 1, 40), (2.0, 1998.0, 2.0), (1.25, 650.0, 1.25)) == (96, 1, 64)
    assert resampled_shape((1, 60, 40), (5.0, 2.0, 2.0), (2.5, 1.0, 1.0)) == (2, 120, 80)  # one slice of a scan
