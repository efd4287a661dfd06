"""Random numbers of the synthesis: ranges, ends, and one generator for all."""

from __future__ import annotations

import torch

from samunet.pretraining.random_numbers import integer, normal, uniform


def test_uniform_fills_its_range_and_normal_has_unit_deviation() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = uniform(-2, 6, generator, 20_000)
    assert -2 <= float(drawn.min()) < -1.99 and 5.99 < float(drawn.max()) < 6
    assert abs(float(drawn.mean()) - 2) < 0.05
    assert uniform(5, 5, generator).shape == () and float(uniform(5, 5, generator)) == 5
    drawn = normal(generator, 20_000)
    assert abs(float(drawn.mean())) < 0.02 and abs(float(drawn.std()) - 1) < 0.02


def test_integer_includes_both_ends() -> None:
    generator = torch.Generator().manual_seed(0)
    assert {integer(3, 5, generator) for _ in range(50)} == {3, 4, 5}
    assert integer(7, 7, generator) == 7
