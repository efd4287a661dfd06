"""Whole runs on the tiny synthetic dataset with the untrained encoder at 32 pixels, for tests of training."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from samunet.dataset.paths import Paths
from samunet.files import read_json, write_json
from samunet.training.finished_run import FinishedRun
from samunet.training.run import train_model
from samunet.training.settings import Request

REQUEST = Request("5", "linear_head", "0", "untrained", "tiny", iterations=60)


def model(paths: Paths, variant: str = "linear_head") -> Path:
    return paths.results / "Dataset005_Made" / f"{variant}__tiny__untrained"


def start(request: Request, paths: Paths, must_continue: bool = False) -> FinishedRun:
    return train_model(request, paths, must_continue=must_continue, workers=1)


def of_budget(pictures: int, paths: Paths, folder: Path) -> Paths:
    """The same, with a plan that has room for so many pictures of views."""
    return replanned(paths, folder, "embeddings", view_pictures=pictures)


def replanned(paths: Paths, folder: Path, section: str, **values: Any) -> Paths:
    """The same in `folder`, with other values in a section of the encoder's plans."""
    shutil.copytree(paths.preprocessed, folder, ignore=shutil.ignore_patterns("embeddings"))
    plans = read_json(folder / "Dataset005_Made" / "tiny.json")
    plans["encoders"]["untrained"].setdefault(section, {}).update(values)
    write_json(folder / "Dataset005_Made" / "tiny.json", plans)
    return dataclasses.replace(paths, preprocessed=folder)
