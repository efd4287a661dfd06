"""The script that measures what a step of 3d_promptable holds: a setting becomes the step that it says."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("checkpointed", [0, 1])
def test_a_step_of_a_setting_and_what_the_plan_expects_of_it(script, checkpointed: int) -> None:
    row = script("patch3d_memory").step(f"mini:4,8,8:2,4,4:1:{checkpointed}")
    # Python and torch, three copies of 6.2 M frozen values, four of some 1.6 M trained ones; the patch is next to
    # nothing.
    assert row["expected_gb"] == pytest.approx(0.8 + 4e-9 * (3 * 6.2e6 + 4 * 1.6e6), rel=0.03)
    assert row["measured_gb"] >= row["loaded_gb"] > 0.1 and row["seconds"] > 0
