"""Normalisation schemes: values by hand, then nnU-Net's own classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samunet.errors import UserError
from samunet.preprocessing.normalize import normalize, require_bounded

FOREGROUND = {"mean": 40.0, "std": 20.0, "percentile_00_5": 0.0, "percentile_99_5": 100.0}


def one_channel(values: list[float]) -> np.ndarray:
    return np.array(values, np.float32).reshape(1, 1, 1, -1)


def normalized(values: list[float], scheme: str, outside: list[bool] | None = None) -> list[float]:
    image = one_channel(values)
    nothing = np.zeros(image.shape[1:], bool)
    mask = nothing if outside is None else np.array(outside).reshape(image.shape[1:])
    normalize(image, mask, [scheme], [outside is not None], [FOREGROUND])
    return image.ravel().tolist()


def test_zscore_by_hand():
    # mean 3, deviation sqrt((4 + 0 + 4) / 3)
    assert normalized([1, 3, 5], "zscore") == pytest.approx([-2 / np.sqrt(8 / 3), 0, 2 / np.sqrt(8 / 3)])


def test_zscore_of_a_constant_is_zero():
    assert normalized([7, 7], "zscore") == [0, 0]


def test_zscore_in_the_mask_leaves_the_outside_alone():
    # inside: 1, 3 with mean 2 and deviation 1
    assert normalized([9, 1, 3, 0], "zscore", [True, False, False, True]) == [9, -1, 1, 0]


def test_ct_by_hand():
    assert normalized([-1000, 0, 50, 100, 3000], "ct") == [-2, -2, 0.5, 3, 3]


def test_rescale_by_hand():
    assert normalized([-10, 0, 30], "rescale_to_0_1") == [0, 0.25, 1]


def test_rescale_of_a_constant_is_zero():
    assert normalized([7, 7], "rescale_to_0_1") == [0, 0]


def test_rgb_by_hand():
    assert normalized([0, 51, 255], "rgb_to_0_1") == pytest.approx([0, 0.2, 1])


@pytest.mark.parametrize("values", [[-1, 5], [0, 256]])
def test_rgb_refuses_other_values(values):
    with pytest.raises(UserError, match="from 0 to 255") as caught:
        normalized(values, "rgb_to_0_1")
    assert f"{values[0]} to {values[1]}" in caught.value.found


def test_nonorm_changes_nothing():
    assert normalized([-1000, 7], "nonorm") == [-1000, 7]


def test_each_channel_has_its_own_scheme():
    image = np.array([[1, 3], [0, 255]], np.float32).reshape(2, 1, 1, 2)
    normalize(image, np.zeros((1, 1, 2), bool), ["zscore", "rgb_to_0_1"], [False, False], [{}, {}])
    assert image.ravel().tolist() == [-1, 1, 0, 1]


@pytest.mark.parametrize(
    ("scheme", "theirs"),
    [("zscore", "ZScoreNormalization"), ("ct", "CTNormalization"), ("rescale_to_0_1", "RescaleTo01Normalization"),
     ("rgb_to_0_1", "RGBTo01Normalization"), ("nonorm", "NoNormalization")],
)
@pytest.mark.parametrize("masked", [False, True])
def test_equal_to_nnunet(scheme, theirs, masked):
    schemes = pytest.importorskip("nnunetv2.preprocessing.normalization.default_normalization_schemes")
    random = np.random.default_rng([3, masked])
    image = random.uniform(0, 255, (1, 6, 7, 8)).astype(np.float32)
    outside = random.random((6, 7, 8)) < 0.4
    expected = getattr(schemes, theirs)(masked, FOREGROUND).run(image[0].copy(), np.where(outside, -1, 0))
    normalize(image, outside, [scheme], [masked], [FOREGROUND])
    np.testing.assert_allclose(image[0], expected, atol=1e-6)


def test_what_float32_can_compute_with_is_bounded():
    image = np.zeros((2, 1, 1, 2), np.float32)
    image[:, 0, 0] = [[-1e18, 0], [0, 1e18]]
    require_bounded(image, [Path("a"), Path("b")])
    for value, found in ((np.nan, "nan"), (np.inf, "inf"), (-np.inf, "inf"), (2e18, "2e+18"), (-2e18, "2e+18")):
        image[1, 0, 0, 0] = value
        with pytest.raises(UserError) as caught:
            require_bounded(image, [Path("a"), Path("b")])
        assert (caught.value.where, caught.value.found) == ("b", f"{found} in channel 1")
        with pytest.raises(UserError) as caught:  # an RGB picture is one file
            require_bounded(image, [Path("rgb")])
        assert caught.value.where == "rgb"
