"""What a prediction is expected to take, by figures that a person can compute, and what is refused before it starts."""

from __future__ import annotations

import json
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from samunet.dataset.dataset import RawCase
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference import expected
from samunet.inference.expected import announce_prediction, seconds
from samunet.planning import expected_cost
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans

GB, MB = 10**9, 10**6
PLAN = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (10, 80, 50), False, ("MRI",), ("zscore",),
                   (False,), ({},))
SECTION = EncoderPlan("mini-3", 256, (50, 50), 0.5, "repeat", 4, "float16", 0, 1)


@pytest.fixture
def model(tmp_path: Path) -> SimpleNamespace:
    """Two folds of `cnn_head`; a validation case took 2 s and 4 s of them."""
    for fold, taken in (("0", 6.0), ("1", 12.0)):
        folder = tmp_path / "model" / f"fold_{fold}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({
            "variant": "cnn_head", "encoder": {"id": "mini-3", "digest": None}, "finished": "2024-01-01",
            "trained_by": "samunet_train", "val_cases": ["a", "b", "c"], "seconds": {"validation": taken},
            "hardware": {"device": "cpu"}, "peak_memory_mb": {"cuda": 1500.0}}))
    plans = Plans("samunetPlans", "Dataset900_Phantom", PLAN, {"mini-3": SECTION})
    return SimpleNamespace(folder=tmp_path / "model", variant="cnn_head", folds=("0", "1"), plans=plans,
                           encoder=SimpleNamespace(spec=SimpleNamespace(id="mini-3", size="mini")),
                           labels=LabelSpace({"background": 0, "organ": 1}), device=torch.device("cpu"))


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch):
    """Sets the free memory and disk; the images have 1 and 2 million voxels."""
    def set_free(memory: float, disk: float = 10**12) -> None:
        for module in (expected, expected_cost):
            monkeypatch.setattr(module, "free_bytes", lambda: int(memory))
        monkeypatch.setattr(expected_cost.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(disk))

    monkeypatch.setattr(expected, "header_voxels", {Path("a"): 1_000_000, Path("b"): 2_000_000}.get)
    set_free(100 * GB)
    return set_free


CASES = [RawCase("a", (Path("a"),), None), RawCase("b", (Path("b"),), None)]


def announced(model, tmp_path, *, workers: int = 1, probabilities: bool = False) -> int:
    return announce_prediction(model, CASES, tmp_path, tta=False, probabilities=probabilities, workers=workers)


def test_time_is_that_of_the_validation_for_each_fold_and_the_encoding(model):
    # Windows of 50 at half steps along 80 rows: 0, 15, 30; 10 slices of 3 tiles, 3.72 GFLOP each, 100 GFLOP/s.
    case = 2 * (2 + 4) / 2 + 10 * 3 * 3.72 / 100
    assert seconds(model, 10, tta=False) == pytest.approx(10 * case, rel=0.01)
    assert seconds(model, 10, tta=True) == pytest.approx(40 * case, rel=0.01)
    model.variant = "unet"  # encodes nothing
    assert seconds(model, 10, tta=False) == 60
    model.device = torch.device("cuda")  # the runs were validated on a processor
    assert seconds(model, 10, tta=False) is None


def test_memory_and_disk_by_hand(model, free, tmp_path, capsys):
    # 3 x (4 + 2) + 8 bytes a voxel of the larger case, held twice; 0.05 bytes a voxel of labels, and 2 x 4 x 0.85 of
    # probabilities.
    assert announced(model, tmp_path, probabilities=True) == 1
    assert capsys.readouterr().err == (
        f"predicting 2 cases: expected about 14 s, {2 * 26 * 2 / 1000:.1f} GB of RAM, "
        f"{3 * (0.05 + 6.8) / 1000:.2f} GB of disk\n")


def test_as_many_processes_as_fit_beside_the_case_that_is_predicted(model, free, tmp_path):
    # One case of 52 MB here; 140 MB and two cases in each process.
    free(52 * MB + 3 * 244 * MB)
    assert announced(model, tmp_path, workers=8) == 3
    free(52 * MB + 3 * 244 * MB - 1)
    assert announced(model, tmp_path, workers=8) == 2
    free(60 * MB)
    assert announced(model, tmp_path, workers=8) == 1


def test_only_what_fits_for_no_case_is_refused(model, free, tmp_path):
    free(26 * MB)  # holds the smaller case alone
    assert announced(model, tmp_path) == 1
    free(26 * MB - 1)
    with pytest.raises(UserError, match="memory must have room for predicting 2 cases"):
        announced(model, tmp_path)
    free(GB, disk=3 * 0.05 * MB - 1)
    with pytest.raises(UserError, match="disk must have room for predicting 2 cases"):
        announced(model, tmp_path)


def test_nothing_is_refused_where_a_size_is_not_in_the_header(model, free, tmp_path, monkeypatch):
    monkeypatch.setattr(expected, "header_voxels", lambda _: None)
    free(1, disk=1)
    assert announced(model, tmp_path, workers=8) == 8


def test_gpu_memory_is_that_of_training(model):
    assert expected.gpu_bytes(model) == 0
    model.device = torch.device("cuda")
    assert expected.gpu_bytes(model) == 1500 * MB
