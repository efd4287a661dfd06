"""Plans by hand: what is asked of them that was never planned."""

from __future__ import annotations

import pytest

from samunet.errors import UserError
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans


def test_an_encoder_that_was_not_planned_for_is_told_without_an_id_as_a_flag() -> None:
    dataset_plan = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (2, 2, 2), False, ("MRI",), ("zscore",), (False,), ({},))
    section = EncoderPlan("mini-3", 64, (8, 8), 0.5, "repeat", 1, 2, "float16", 0, 1)
    plans = Plans("tiny", "Dataset005_Made", dataset_plan, {"mini-3": section})
    assert plans.for_encoder("mini-3") == section
    with pytest.raises(UserError, match="'own-1a2b3c4d'") as caught:
        plans.for_encoder("own-1a2b3c4d")
    # --encoder takes a file's path, and refuses its id.
    assert (caught.value.found, caught.value.mend) == ("mini-3", "Run samunet_plan_and_preprocess with the same --encoder.")
