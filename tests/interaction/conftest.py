"""The small synthetic dataset of `made_dataset`, and a model of `sam_zeroshot` on it, for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_dataset import made, prepared

from samunet.dataset.paths import Paths
from samunet.training.run import train_model
from samunet.training.settings import Request

__all__ = ["made", "prepared"]


@pytest.fixture(scope="session")
def zeroshot(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model whose decoder has random weights: it answers, and nothing is trained."""
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path_factory.mktemp("zeroshot"))
    request = Request("5", "sam_zeroshot", "0", "untrained", "tiny", oracle_prompts="point", validate=False)
    train_model(request, paths, must_continue=False, workers=1)
    return paths.results / "Dataset005_Made" / "sam_zeroshot__tiny__untrained"


@pytest.fixture(scope="session")
def prior(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of `label_prior`, which needs no prompts."""
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path_factory.mktemp("prior"))
    request = Request("5", "label_prior", "0", "untrained", "tiny", validate=False)
    train_model(request, paths, must_continue=False, workers=1)
    return paths.results / "Dataset005_Made" / "label_prior__tiny__untrained"
