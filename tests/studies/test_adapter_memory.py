"""The script that measures what a step of 3d_adapter holds: a setting becomes the step that it says."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("setting", ["mini:32:3:2:0", "mini:32:3:2:1"])
def test_a_step_of_a_setting_and_what_the_plan_expects_of_it(script, setting: str) -> None:
    row = script("adapter_memory").step(setting)
    # Python and torch, three copies of 6.2 M frozen values, four of some 5 M trained ones; the stacks themselves are
    # next to nothing.
    assert row["setting"] == setting and row["expected_gb"] == pytest.approx(0.8 + 4e-9 * (3 * 6.2e6 + 4 * 5.4e6),
                                                                             rel=0.03)
    # the kernel counts the peak more coarsely than what is resident now
    assert row["measured_gb"] > 0.99 * row["loaded_gb"] > 0.1 and row["seconds"] > 0
