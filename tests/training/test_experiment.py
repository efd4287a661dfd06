"""What a run refuses before it begins."""

from __future__ import annotations

import pytest
from raw_files import plan

from samunet.errors import UserError
from samunet.planning.plans import Plans
from samunet.preprocessing.store import ArrayStore
from samunet.training.experiment import _require_made_by


def test_all_cases_without_arrays_are_told_together(tmp_path):
    """Training needs every case of its fold: one that could not be preprocessed is not left out in silence."""
    with pytest.raises(UserError, match="must be preprocessed") as caught:
        _require_made_by(Plans("samunetPlans", "Dataset001_Made", plan(), {}), ArrayStore(tmp_path), ["b", "a", "b"])
    assert caught.value.found == "no arrays of b, a" and "samunet_preprocess" in caught.value.mend
