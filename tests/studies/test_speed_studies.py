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


def test_both_trainers_take_turns_and_a_loss_that_is_not_finite_ends_the_study(script) -> None:
    module, called = script("train_step"), []

    def step(name: str, loss: float) -> Callable[[], float]:
        return lambda: (called.append(name), loss)[1]

    found = module.in_turn({"ours": step("ours", 0.5), "theirs": step("theirs", 0.25)}, rounds=2)
    assert called == ["ours", "theirs"] * 3  # the first of each does not count
    assert (found["ours"]["loss"], found["theirs"]["loss"]) == (0.5, 0.25) and found["ours"]["rate"] > 0
    with pytest.raises(SystemExit, match="theirs: the loss is nan"):
        module.in_turn({"ours": step("ours", 0.5), "theirs": step("theirs", float("nan"))}, rounds=1)


def test_both_networks_are_equal_and_the_losses_agree(tmp_path: Path) -> None:
    """In a process of its own: nnU-Net reads its folders from the environment when it is imported."""
    pytest.importorskip("nnunetv2")
    command = [sys.executable, str(Path(__file__).parents[2] / "studies" / "train_step.py"), "--variants", "unet",
               "--shape", "8", "24", "20", "--rounds", "1", "--output", str(tmp_path / "record.jsonl")]
    subprocess.run(command, check=True, capture_output=True, cwd=Path(__file__).parent)
    row = json.loads((tmp_path / "record.jsonl").read_text())["rows"]["unet"]
    assert row["patch"] == [24, 20] and row["batch"] == 12
    # 1 - Dice in ours, -Dice in nnU-Net's; other weights, and noise.
    assert row["ours"]["loss"] == pytest.approx(row["theirs"]["loss"] + 1, abs=0.3)


def test_both_exports_write_the_same_labels(script, tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2")
    module = script("export_speed")
    options = Namespace(work=tmp_path, size=(24, 20, 12), classes=4, dtype="float32", max_ram=4)
    module.write_logits(options)
    first = next(module.slabs(options))[1]
    assert first.shape == (4, 4, 10, 12) and first.dtype == np.float32
    module.limit_memory = lambda _: None  # of this process, which runs other tests
    for name in module.EXPORTERS:
        assert module.one(name, options)["wall"] > 0
    assert module.share_of_other_labels(tmp_path) == 0
    # 15 classes of float16 on 300 x 256 x 256: 2 and 8 bytes; on the file's grid 15 x 2, and 8 of one class.
    large = Namespace(size=(512, 512, 600), classes=15, dtype="float16")
    assert module.nnunet_bytes(large) == 15 * 300 * 256**2 * 10 + 600 * 512**2 * 38 + 10**9
