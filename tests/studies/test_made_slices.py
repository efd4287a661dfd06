"""The synthetic dataset of slices two away."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np
import pytest


def test_labels_are_the_brightness_two_slices_away(script: Callable[[str], ModuleType]) -> None:
    image, labels = script("slice_context").made(np.random.default_rng(5))
    for z in range(len(labels)):
        for away in (z - 2, z + 2):
            if 0 <= away < len(labels):
                assert (image[away][labels[z] == 1] > 100).all() and (image[away][labels[z] == 2] < 100).all()


def test_nearer_slices_say_nothing_of_a_label(script: Callable[[str], ModuleType]) -> None:
    module = script("slice_context")
    together = {offset: np.zeros((2, 2)) for offset in (-1, 0, 1)}  # label 1 or 2, dark or bright
    for seed in range(600):
        image, labels = module.made(np.random.default_rng([9, seed]))
        for offset, counts in together.items():
            seen, told = image[4 + offset], labels[4]
            for label in (1, 2):
                for bright in (0, 1):
                    counts[label - 1, bright] += ((seen > 100) == bright)[told == label].sum()
    for counts in together.values():  # about 900 discs of each label: the standard deviation of a share is 0.017
        assert (counts[:, 1] / counts.sum(1)).tolist() == pytest.approx([0.5, 0.5], abs=0.05)


def test_the_rule(script: Callable[[str], ModuleType]) -> None:
    met = script("slice_context").met
    dice = {"3d_adapter": 0.9, "3d_adapter_alone": 0.59, "lora": 0.5, "cnn_head": 0.5}
    assert met(dice) is True and met({**dice, "3d_adapter": 0.89}) is False and met({**dice, "lora": 0.6}) is False
    assert met({"3d_adapter": 0.95}) is None
