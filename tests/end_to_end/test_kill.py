"""Every command may be killed at any moment; started again, it ends with the bytes of an undisturbed run."""

from __future__ import annotations

import os
import random
import shutil
import signal
from pathlib import Path

import pytest

KILLS = 3
# What must be equal byte by byte. Logs, run.json, plots and absolute paths in summary.json are not promised.
PROMISED = (
    "preprocessed/**/*",
    "results/**/*.safetensors",
    "results/**/plans.json",
    "results/**/dataset*.json",
    "results/**/label_statistics.json",
    "results/**/*.nii.gz",
    "out/*.nii.gz",
)

pytestmark = pytest.mark.slow


def _commands(workplace, encoder: Path) -> list[tuple[str, ...]]:
    dataset = workplace.root / "raw" / "Dataset005_Boxes"
    return [
        ("plan_and_preprocess", "-d", "5", "--encoder", str(encoder), "--verify_dataset_integrity", "-np", "2"),
        ("train", "5", "linear_head", "0", "--encoder", str(encoder), "--iterations", "70", "-device", "cpu"),
        ("predict", "-i", str(dataset / "imagesTs"), "-o", str(workplace.root / "out"), "-device", "cpu"),
        ("evaluate_folder", str(dataset / "labelsTs"), str(workplace.root / "out"),
         "-djfile", str(dataset / "dataset.json")),
    ]


def _prepared(workplace, make_dataset):
    dataset = make_dataset(workplace.root / "raw", cases=6)
    shutil.copytree(dataset / "imagesTr", dataset / "imagesTs")
    shutil.copytree(dataset / "labelsTr", dataset / "labelsTs")
    return workplace


def _files(workplace) -> int:
    """Files and folders that are there; some may go meanwhile."""
    return sum(len(folders) + len(files) for _, folders, files in os.walk(workplace.root))


def _kill_at(workplace, files: int, command: tuple[str, ...]) -> bool:
    """Kill the command as soon as there are so many files and folders; whether it still ran."""
    process = workplace.start(*command)
    while _files(workplace) < files:
        if process.ends_within(0.001):
            return False
    process.kill()
    return process.code == -signal.SIGKILL


def test_killed_commands_end_like_undisturbed_ones(tmp_path, workplace_at, make_dataset, small_sam):
    calm, disturbed = (_prepared(workplace_at(tmp_path / name), make_dataset) for name in ("calm", "disturbed"))
    moments = random.Random(20240229)
    killed = 0
    for calm_command, command in zip(_commands(calm, small_sam), _commands(disturbed, small_sam), strict=True):
        before = _files(calm)
        calm.run(*calm_command)
        after = _files(calm)
        for _ in range(KILLS):
            killed += _kill_at(disturbed, moments.randint(before + 1, after), command)
        disturbed.run(*command)
        assert disturbed.digests(*PROMISED) == calm.digests(*PROMISED), command[0]
        assert not list(disturbed.root.rglob(".unfinished-*"))
    assert killed >= KILLS, "most kills must have hit a running command"
    for name in ("summary.json", "metrics.json"):
        texts = [(place.root / "out" / name).read_text().replace(str(place.root), "") for place in (calm, disturbed)]
        assert texts[0] == texts[1]
