"""The small synthetic dataset of `made_dataset`, and models on it, for the tests of this room."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from made_dataset import made, prepared
from whole_runs import REQUEST, model, start

from samunet.dataset.paths import Paths

__all__ = ["made", "prepared"]


@pytest.fixture(scope="session")
def models(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of models by variant: `sam_zeroshot`, which answers prompts, and `label_prior`, which needs none."""
    paths = Paths(prepared / "raw", prepared / "preprocessed", tmp_path_factory.mktemp("models"))
    for variant, prompts in (("sam_zeroshot", "point"), ("label_prior", None)):
        request = {"variant": variant, "oracle_prompts": prompts, "validate": False, "iterations": None}
        start(REQUEST.__class__(**{**vars(REQUEST), **request}), paths)
    return {variant: model(paths, variant) for variant in ("sam_zeroshot", "label_prior")}


@pytest.fixture
def images(prepared: Path, tmp_path: Path) -> Path:
    """A folder with three images of the dataset."""
    for name in ("a1", "b1", "c1"):
        source = prepared / "raw" / "Dataset005_Made" / "imagesTr" / f"{name}_0000.nii.gz"
        (tmp_path / "images").mkdir(exist_ok=True)
        shutil.copy(source, tmp_path / "images")
    return tmp_path / "images"
