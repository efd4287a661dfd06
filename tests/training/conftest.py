"""The small synthetic dataset of `made_dataset`, and a finished run on it, for the tests of this room."""

from pathlib import Path

import pytest
from made_dataset import made, prepared
from whole_runs import REQUEST

from samunet.dataset.paths import Paths
from samunet.training.run import train_model

__all__ = ["made", "prepared"]


@pytest.fixture
def paths(prepared: Path, tmp_path: Path) -> Paths:
    return Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")


@pytest.fixture(scope="session")
def finished(prepared: Path, tmp_path_factory) -> Path:
    """The fold folder of an undisturbed run of REQUEST."""
    results = tmp_path_factory.mktemp("finished")
    train_model(REQUEST, Paths(prepared / "raw", prepared / "preprocessed", results), must_continue=False, workers=1)
    return results / "Dataset005_Made" / "linear_head__tiny__untrained" / "fold_0"
