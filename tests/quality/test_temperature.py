"""Temperatures of logits whose truth is known, and calibration errors by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from samunet.dataset.labels import UNANNOTATED, LabelSpace
from samunet.quality import temperature as module
from samunet.quality.temperature import Voxels, calibration_error, fit_temperature, negative_log_likelihood, sampled

LABELS = LabelSpace({"background": 0, "a": 1})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": (2,)}, (1, 2))


def voxels_of(probability: float, right: int, wrong: int) -> Voxels:
    """Voxels that all claim label 1 with `probability`, which `right` of them have."""
    count = right + wrong
    logits = np.zeros((2, count), np.float32)
    logits[1] = math.log(probability / (1 - probability))
    is_one = np.arange(count) < right
    return Voxels(logits, np.stack([~is_one, is_one]))


def test_likelihood_by_hand() -> None:
    # -log 0.8 three times and -log 0.2 once.
    expected = -(3 * math.log(0.8) + math.log(0.2)) / 4
    assert negative_log_likelihood(voxels_of(0.8, 3, 1), LABELS, 1.0) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("claimed", "right"), [(0.99, 3), (0.6, 3)])
def test_the_temperature_turns_claims_into_frequencies(claimed: float, right: int) -> None:
    voxels = voxels_of(claimed, right, 1)  # 0.75 is the truth: logit log 3
    expected = math.log(claimed / (1 - claimed)) / math.log(3)
    found = fit_temperature(voxels, LABELS)
    assert found == pytest.approx(expected, rel=1e-3)
    assert calibration_error(voxels, LABELS, 1.0) == pytest.approx(abs(claimed - 0.75), rel=1e-5)
    assert calibration_error(voxels, LABELS, found) < 1e-3


def test_errors_of_bins_do_not_cancel() -> None:
    low, high = voxels_of(0.6, 3, 1), voxels_of(0.9, 3, 1)  # 0.15 too low, and 0.15 too high
    both = module.joined([low, high])
    assert calibration_error(both, LABELS, 1.0) == pytest.approx(0.15, rel=1e-5)


def test_regions_count_by_channel() -> None:
    logits = np.array([[math.log(9)], [-math.log(4)]], np.float32)  # 0.9 and 0.2
    voxels = Voxels(logits, np.array([[True], [True]]))
    expected = -(math.log(0.9) + math.log(0.2)) / 2
    assert negative_log_likelihood(voxels, REGIONS, 1.0) == pytest.approx(expected, rel=1e-6)
    # |1 - 0.9| in one bin and |0 - 0.8| in another, each of half of the decisions.
    assert calibration_error(voxels, REGIONS, 1.0) == pytest.approx((0.1 + 0.8) / 2, rel=1e-5)


def test_voxels_are_sampled_from_those_that_count(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = np.arange(2 * 24, dtype=np.float32).reshape(2, 2, 3, 4)
    segmentation = np.full((2, 3, 4), UNANNOTATED, np.int16)
    segmentation[1] = [[0, 0, 1, -1], [0, 1, 1, 0], [0, 0, 0, 0]]
    found = sampled(logits, segmentation, LABELS, 0)
    np.testing.assert_array_equal(found.logits[0], np.arange(12, 24))
    np.testing.assert_array_equal(found.targets[1], (segmentation[1] == 1).ravel())
    np.testing.assert_array_equal(found.targets[0], ~found.targets[1])  # outside the image is background
    monkeypatch.setattr(module, "VOXELS_PER_CASE", 5)
    one, same, other = (sampled(logits, segmentation, LABELS, seed) for seed in (1, 1, 2))
    assert one.logits.shape == (2, 5) and len({*one.logits[0]}) == 5
    np.testing.assert_array_equal(one.logits, same.logits)
    assert not np.array_equal(one.logits, other.logits)
