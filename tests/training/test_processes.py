"""Two processes on one machine (gloo) against one: the same losses, step by step, and whole runs by the command."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from torch import distributed
from warm_server import WarmServer

from samunet.processes import process_group

STEPS = 20
NETWORKS = ("tiny", "unet", "simclr")
# Trains each network for STEPS steps, a line of its log for each; under torchrun in as many processes as it started.
CURVES = f"""
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, {str(Path(__file__).parents[1] / "helpers")!r})
import made_dataset, numpy as np, torch
from samunet.processes import process_group
from samunet.planning.tiles import TileFrame
from samunet.training import trainer
from samunet.inputs.batches import Batches
from samunet.inputs.patches import PairSamples, PatchAugmentation, PatchSampler, PatchSamples
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.variants.base import VariantContext
from samunet.variants import precision
from samunet.variants.unet import UnetVariant

class Arrays:
    def image_slice(self, name, plane):
        return np.random.default_rng([len(name), plane]).standard_normal((1, 32, 32)).astype(np.float32)

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
trainer.ITERATIONS_PER_EPOCH = 1
precision.dtype_of_products = lambda device: torch.float32  # to tell sums from rounding

def trained(name, folder):
    torch.manual_seed(0)
    if name == "tiny":
        variant, batches = made_dataset.tiny_variant(), made_dataset.made_batches()
        variant.network = torch.nn.Sequential(torch.nn.Conv2d(256, 3, 1), torch.nn.Upsample(scale_factor=4))
    else:
        plan = replace(made_dataset.DATASET_PLAN, median_shape=(4, 16, 16))
        variant = UnetVariant(VariantContext(made_dataset.LABELS, plan, made_dataset.SECTION, {{}}))
        labels, augmentation = made_dataset.made_labels(), PatchAugmentation(variant.patch, [False])
        whole = TileFrame((32, 32), (32, 32), 1.0)
        samples = PatchSamples(made_dataset.NAMES, Arrays(), labels, made_dataset.LABELS, augmentation)
        batches = Batches(made_dataset.NAMES, Sampler(labels, made_dataset.LABELS, 4, 0), samples)
        if name == "simclr":
            from samunet.variants.simclr import SimclrPretraining
            variant = SimclrPretraining(variant)
            sampler = PatchSampler([(4, 32, 32)] * 3, variant.patch, 4, 0)
            batches = Batches(made_dataset.NAMES, sampler, PairSamples(made_dataset.NAMES, Arrays(), augmentation))
    trainer.train(variant, batches, {STEPS}, folder, torch.device("cpu"))

with process_group("cpu"):
    for name in {NETWORKS}:
        trained(name, Path(sys.argv[1]) / name)
"""


def curves(folder: Path, processes: int, python: Path) -> dict[str, list[float]]:
    """The losses of each network, trained one after the other by one start."""
    for name in NETWORKS:
        (folder / name).mkdir(parents=True)
    script = folder / "curves.py"
    script.write_text(CURVES)
    start = [python] if processes == 1 else [
        python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    subprocess.run([*start, str(script), str(folder)], check=True, capture_output=True,
                   env={**os.environ, "PYTHON_EXEC": str(python)})
    return {name: [json.loads(line)["loss"] for line in (folder / name / "log.jsonl").read_text().splitlines()]
            for name in NETWORKS}


@pytest.fixture(scope="module")
def python(tmp_path_factory, warm_server: WarmServer) -> Path:
    """A Python without start-up time; torchrun starts processes by it, too, where PYTHON_EXEC names it."""
    return warm_server.write_scripts(tmp_path_factory.mktemp("scripts") / "bin") / "python"


@pytest.fixture(scope="module")
def of_one_and_two(tmp_path_factory, python: Path) -> list[dict[str, list[float]]]:
    root = tmp_path_factory.mktemp("curves")
    return [curves(root / str(processes), processes, python) for processes in (1, 2)]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_losses_are_those_of_one_process_with_the_same_batch(name: str, of_one_and_two) -> None:
    one, two = (losses[name] for losses in of_one_and_two)
    assert len(one) == len(two) == STEPS and one[0] != one[-1]
    np.testing.assert_allclose(two, one, atol=1e-4)


@pytest.fixture
def started_alone(monkeypatch) -> pytest.MonkeyPatch:
    """As torchrun starts a process that is the only one; its port is any that is free."""
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "0")):
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_processes_wait_for_each_other_for_days(started_alone) -> None:
    with process_group("cpu") as device:
        assert device == "cpu"
        assert distributed.group.WORLD._get_backend(torch.device(device)).options._timeout == timedelta(days=7)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_each_process_has_its_own_card(started_alone) -> None:
    started_alone.setenv("LOCAL_RANK", "1")
    with process_group("cuda") as device:
        assert device == "cuda:1" and torch.cuda.current_device() == 1


@pytest.fixture
def command(prepared: Path, python: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(results: Path, *flags: str) -> subprocess.CompletedProcess[str]:
        arguments = ["5", "unet", "0", "--encoder", "untrained", "-p", "tiny", "-device", "cpu", "-np", "1", "--raw",
                     str(prepared / "raw"), "--preprocessed", str(prepared / "preprocessed"), "--results", str(results)]
        return subprocess.run([python, "-m", "samunet.cli.train", *arguments, *flags], capture_output=True, text=True,
                              check=False, env={**os.environ, "PYTHON_EXEC": str(python)})

    return run


@pytest.mark.slow
def test_num_gpus_trains_validates_and_continues_as_one_process_does(command: Callable[..., Any],
                                                                     tmp_path: Path) -> None:
    done = [command(tmp_path / name, "--iterations", "12", *flags)
            for name, flags in (("one", ()), ("two", ("-num_gpus", "2")))]
    assert [each.returncode for each in done] == [0, 0], done[1].stderr
    folds = [tmp_path / name / "Dataset005_Made" / "unet__tiny__untrained" / "fold_0" for name in ("one", "two")]
    weights = [load_file(fold / "checkpoint_final.safetensors") for fold in folds]
    for name, tensor in weights[0].items():
        np.testing.assert_allclose(weights[1][name], tensor, atol=2e-3)
    assert [json.loads((fold / "run.json").read_text())["processes"] for fold in folds] == [1, 2]
    assert {path.name for path in (folds[1] / "validation").glob("*.nii.gz")} == {"c1.nii.gz", "d1.nii.gz"}
    again = command(tmp_path / "two", "--iterations", "12", "-num_gpus", "2", "--c")
    assert again.returncode == 0 and "already finished" in again.stdout


@pytest.mark.slow
def test_a_fault_of_the_user_ends_all_processes_with_exit_code_2(command: Callable[..., Any], tmp_path: Path) -> None:
    done = command(tmp_path, "--iterations", "2", "-num_gpus", "2", "--shots", "50")
    assert done.returncode == 2 and "--shots must be at least 1" in done.stderr
    uneven = command(tmp_path, "--iterations", "2", "-num_gpus", "5")
    assert uneven.returncode == 2 and "dealt evenly" in uneven.stderr
