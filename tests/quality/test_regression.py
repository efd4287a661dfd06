"""Predicted Dice from features: weights by hand, and against scikit-image-free linear algebra."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.quality.regression import PENALTY, DiceRegression, fit


def rows(*columns: list[float]) -> list[dict[str, float]]:
    return [dict(zip("ab", values, strict=False)) for values in zip(*columns, strict=True)]


def test_one_feature_by_hand() -> None:
    # Of variance 1 around 0.5 with 4 cases: the ridge slope is the plain one times 4 / (4 + PENALTY).
    found = fit(rows([-0.5, -0.5, 1.5, 1.5]), [0.4, 0.4, 0.8, 0.8])
    slope = 0.2 * 4 / (4 + PENALTY)
    assert found.weights == {"a": pytest.approx(slope)} and found.cases == 4
    assert found.predict({"a": 0.5}) == pytest.approx(0.6)
    assert found.predict({"a": 1.5}) == pytest.approx(0.6 + slope)
    # Left out: three others of mean 0.667 or 0.533 and spread 0.943, slope 0.2 * 3 / (3 + 1).
    mean, centre, shrunk = 2 / 3 * 0.8 + 0.4 / 3, 5 / 6, 0.2 * 3 / 4
    miss = abs(mean + shrunk * (-0.5 - centre) - 0.4)
    assert found.error == pytest.approx(miss)


def test_the_error_is_that_of_what_is_predicted_for_the_case_left_out() -> None:
    """Dice rises by 0.2 a step, so that the others' line is far above 1 at the last feature: it is clipped to 1."""
    features, dice = rows([0.0, 1, 2, 3, 20]), [0.4, 0.6, 0.8, 1.0, 1.0]
    misses = []
    for left_out in range(5):
        others = [place for place in range(5) if place != left_out]
        found = fit([features[place] for place in others], [dice[place] for place in others])
        misses.append(abs(found.predict(features[left_out]) - dice[left_out]))
    assert misses[-1] == 0
    assert fit(features, dice).error == pytest.approx(np.mean(misses))


def test_a_surer_prediction_never_gets_a_lower_dice() -> None:
    found = fit(rows([0.1, 0.2, 0.3, 0.4]), [0.9, 0.8, 0.7, 0.6])
    assert found.weights == {"a": 0.0} and found.predict({"a": 0.0}) == pytest.approx(0.75)


def test_equals_ridge_regression_where_no_weight_would_be_negative() -> None:
    random = np.random.default_rng(1)
    table = random.normal(size=(30, 2)) * [1.0, 3.0]
    dice = 0.5 + 0.05 * table[:, 0] + 0.02 * table[:, 1] + 0.01 * random.normal(size=30)
    standard = (table - table.mean(0)) / table.std(0)
    expected = np.linalg.solve(standard.T @ standard + PENALTY * np.eye(2), standard.T @ (dice - dice.mean()))
    found = fit(rows(table[:, 0].tolist(), table[:, 1].tolist()), dice.tolist())
    np.testing.assert_allclose(list(found.weights.values()), expected / table.std(0), rtol=1e-9)


def test_predictions_stay_between_0_and_1() -> None:
    found = DiceRegression({"a": 10.0}, -5.0, 4, 0.0)
    assert (found.predict({"a": 0.0}), found.predict({"a": 1.0})) == (0.0, 1.0)


def test_a_constant_feature_and_too_few_cases() -> None:
    assert fit(rows([0.3] * 4, [0.1, 0.2, 0.3, 0.4]), [0.1, 0.2, 0.3, 0.4]).weights["a"] == 0.0
    with pytest.raises(ValueError, match="needs 4 cases, and there are 3"):
        fit(rows([0.1, 0.2, 0.3]), [0.1, 0.2, 0.3])
