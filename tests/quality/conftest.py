"""Six cases in two folds, and a label prior of each fold: predictions that differ from case to case, in seconds."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from six_cases import DATASET, PLANS, six_cases

from samunet.dataset.paths import Paths
from samunet.training.run import ensure_trained
from samunet.training.settings import Request

MODEL = f"label_prior__{PLANS}__untrained"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """Raw data, preprocessed data and both folds of the model."""
    paths = six_cases(tmp_path_factory.mktemp("quality"))
    for fold in ("0", "1"):
        request = Request("5", "label_prior", fold, "untrained", PLANS)
        ensure_trained(request, paths, trained_by="samunet_train", workers=1)
    return paths


@pytest.fixture
def model(trained: Paths, tmp_path: Path) -> Path:
    """A copy of the model, to be calibrated or damaged."""
    return shutil.copytree(trained.results / DATASET / MODEL, tmp_path / DATASET / MODEL)
