"""The made videos: which frames show a class, and where the labels lie."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np


def test_an_instrument_shows_its_colour_in_every_third_frame(script: Callable[[str], ModuleType]) -> None:
    module = script("instruments")
    frames, labels = module.made(np.random.default_rng(4))
    assert frames.shape == (12, 64, 64, 3) and frames.min() >= 1 and labels.shape == (12, 64, 64)
    for number in set(np.unique(labels)) - {0}:
        shown = []
        for time in range(12):
            middle = frames[time][labels[time] == number].mean(0)
            coloured = np.abs(middle - module.COLOURS[number - 1]).max() < 15
            assert coloured or np.abs(middle - module.STEEL).max() < 15
            shown.append(coloured)
        first = shown.index(True)
        assert first < 3 and shown == [time % 3 == first for time in range(12)]


def test_a_straight_shaft_with_shut_jaws_by_hand(script: Callable[[str], ModuleType]) -> None:
    module = script("instruments")
    # Opening at its least: 0.45 - 0.35 radians. No swing, no slide.
    mask = module.instrument(0, entry=np.array([32.0, 0.0]), facing=0.0, length=30.0,
                             phases=np.array([0.0, 0.0, -np.pi / 2]))
    assert mask[28:37, 0:30].all() and not mask[27, 0:30].any() and not mask[37, 0:30].any()  # less than 5 from row 32
    assert mask[32, 41] and not mask[32, 43]  # the jaws end 10 after the shaft and are 2.5 wide
