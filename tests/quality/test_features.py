"""What a prediction says about itself, on logits small enough to compute by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from samunet.dataset.labels import LabelSpace
from samunet.quality.features import MemberFeatures, binary_entropy, on_boundary, watched

PLAIN = LabelSpace({"background": 0, "a": 1})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": (2,)}, (1, 2))


def logits_of(probabilities: list[float]) -> np.ndarray:
    """Logits (1 view, 2, 1, 1, n) of which the softmax of channel 1 is `probabilities`."""
    p = np.array(probabilities)
    return np.stack([np.zeros_like(p), np.log(p / (1 - p))])[None, :, None, None].astype(np.float32)


def test_expected_dice_and_boundary_certainty_by_hand() -> None:
    member = MemberFeatures(PLAIN, 1)
    member.add(logits_of([0.9, 0.6, 0.2, 0.1]))
    # y = 1 1 0 0: 2 (0.9 + 0.6) / (1.8 + 2); the boundary is between the voxels of 0.6 and of 0.2.
    found = member.values()["1"]
    entropy = [-p * math.log2(p) - (1 - p) * math.log2(1 - p) for p in (0.6, 0.2)]
    assert found == {"expected_dice": pytest.approx(3.0 / 3.8, abs=1e-6),
                     "boundary_certainty": pytest.approx(1 - sum(entropy) / 2, abs=1e-6)}


def test_slabs_together_give_what_the_whole_gives() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 3, 6, 5, 7)).astype(np.float32)
    labels = LabelSpace({"background": 0, "a": 1, "b": 2})
    whole, parts = MemberFeatures(labels, 4), MemberFeatures(labels, 4)
    whole.add(logits)
    for first in (0, 1, 4):
        parts.add(logits[:, :, first : {0: 1, 1: 4, 4: 6}[first]])
    for key, values in whole.values().items():
        assert parts.values()[key] == {name: pytest.approx(value, abs=1e-9) for name, value in values.items()}


def test_views_are_compared_in_pairs() -> None:
    views = np.concatenate([logits_of(p) for p in ([0.9, 0.9, 0.1, 0.1], [0.9, 0.1, 0.1, 0.1], [0.9, 0.9, 0.9, 0.1])])
    member = MemberFeatures(PLAIN, 3)
    member.add(views)
    # Masks of 2, 1 and 3 voxels, each within the next larger: Dice 2/3, 4/5 and 2/4.
    assert member.values()["1"]["view_dice"] == pytest.approx((2 / 3 + 4 / 5 + 1 / 2) / 3)


def test_nothing_found_is_never_sure() -> None:
    member = MemberFeatures(PLAIN, 2)
    member.add(np.concatenate([logits_of([0.1, 0.1])] * 2))
    assert member.values()["1"] == {"expected_dice": 0.0, "boundary_certainty": 0.0, "view_dice": 0.0}


def test_regions_have_their_own_channels() -> None:
    member = MemberFeatures(REGIONS, 1)
    p = np.array([[0.9, 0.8, 0.4], [0.7, 0.2, 0.1]])
    member.add(np.log(p / (1 - p))[None, :, None, None].astype(np.float32))
    found = member.values()
    assert found["(1, 2)"]["expected_dice"] == pytest.approx(2 * 1.7 / (2.1 + 2))
    assert found["(2,)"]["expected_dice"] == pytest.approx(2 * 0.7 / (1.0 + 1))


def test_members_are_taken_behind_the_mean() -> None:
    one, other = logits_of([0.9, 0.2])[0], logits_of([0.6, 0.2])[0]
    members = [MemberFeatures(PLAIN, 1), MemberFeatures(PLAIN, 1)]
    [(first, slab)] = watched(iter([(0, np.concatenate([(one + other) / 2, one, other]))]), 2, members)
    np.testing.assert_array_equal(slab, (one + other) / 2)
    assert first == 0
    assert members[0].values()["1"]["expected_dice"] == pytest.approx(1.8 / 2.1, abs=1e-6)
    assert members[1].values()["1"]["expected_dice"] == pytest.approx(1.2 / 1.8, abs=1e-6)


def test_boundary_and_entropy_by_hand() -> None:
    mask = np.zeros((2, 3, 4), bool)
    mask[0, 1, 1:3] = True
    expected = np.array([[0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0]], bool)
    np.testing.assert_array_equal(on_boundary(mask), [expected, np.zeros((3, 4), bool)])  # in-plane alone
    np.testing.assert_allclose(binary_entropy(np.array([0.0, 0.5, 1.0])), [0, 1, 0], atol=1e-9)
