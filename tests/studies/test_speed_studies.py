"""What the studies of speed measure with, and whether they compare what they say."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


def test_the_memory_of_a_command_is_that_of_all_its_processes(script: Callable[[str], ModuleType], tmp_path) -> None:
    """A command of almost no memory, whose child holds 200 MB until it is told to end."""
    child = "import time; held = bytearray(200_000_000); time.sleep(2)"
    parent = f"import subprocess, sys; print('said'); subprocess.run([sys.executable, '-c', {child!r}])"
    cost = script("process_tree").cost_of([sys.executable, "-c", parent], {}, tmp_path / "log")
    assert 200_000_000 < cost.memory < 400_000_000
    assert (tmp_path / "log").read_text() == "said\n"
    with pytest.raises(subprocess.CalledProcessError):
        script("process_tree").cost_of([sys.executable, "-c", "raise SystemExit(3)"], {}, tmp_path / "log")


def test_made_ct_is_anisotropic_and_holds_its_organs(script: Callable[[str], ModuleType], tmp_path: Path) -> None:
    folder = script("preprocess_speed").made_ct(tmp_path / "Dataset999_MadeCT", Namespace(volumes=1, size=(40, 40, 9)))
    assert sorted(path.name for path in folder.rglob("*.nii.gz")) == ["ct_000.nii.gz", "ct_000_0000.nii.gz"]
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 1
    image, labels, spacing = script("preprocess_speed").ct_volume((40, 40, 9), 0)
    assert image.shape == (9, 40, 40) and spacing[2] > 3 * spacing[0]
    assert [round(float(image[labels == value].mean()) / 5) * 5 for value in (1, 2)] == [110, 180]
    assert image[4, 0, 0] < -900


def test_both_metrics_agree_on_made_labels(script: Callable[[str], ModuleType]) -> None:
    module = script("metrics_speed")
    reference, prediction = (module.made_labels((30, 40, 40), 2, seed) for seed in (0, 1))
    assert set(np.unique(reference)) == {0, 1, 2} and (reference != prediction).any()
    metrics = module.measured(reference, prediction, 2)
    for value in (1, 2):
        assert module.compared(reference, prediction, value, metrics)["difference"] < 1e-6
    metrics.overlap["1"]["Dice"] += 0.25
    assert module.compared(reference, prediction, 1, metrics)["difference"] == pytest.approx(0.25)
