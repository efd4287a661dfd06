"""The loop: schedule by hand, learning, exact resume after SIGKILL and after an exception, faults that name the cases.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from damage import flip, rewrite, truncate
from torch import Tensor

from samunet.inference.model_weights import CHECKPOINT
from samunet.training.checkpoints import LATEST, save_weights
from samunet.training.trainer import (
    Optimization,
    poly_learning_rate,
    seconds_per_iteration,
    train,
    warmed_up,
)
from samunet.variants.precision import dtype_of

CPU = torch.device("cpu")
ITERATIONS = 130

RUN = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "helpers")!r})
import made_dataset, torch
from pathlib import Path
from samunet.inference.model_weights import CHECKPOINT
from samunet.training.checkpoints import save_weights
from samunet.training.trainer import train
from samunet.variants.precision import dtype_of
folder = Path(sys.argv[1])
variant = made_dataset.tiny_variant()
train(variant, made_dataset.made_batches(), {ITERATIONS}, folder, torch.device("cpu"))
save_weights(folder / CHECKPOINT, variant.state())
"""


def run(made, folder: Path, variant=None) -> bytes:
    folder.mkdir(exist_ok=True)
    variant = variant or made.tiny_variant()
    train(variant, made.made_batches(), ITERATIONS, folder, CPU)
    save_weights(folder / CHECKPOINT, variant.state())
    return (folder / CHECKPOINT).read_bytes()


def logged(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    subprocess.run([sys.executable, "-c", RUN, str(folder)], check=True)
    return folder


@pytest.mark.parametrize("able, full, dtype", [({"avx512_bf16": True}, False, torch.bfloat16),
                                               ({"avx512_bf16": True}, True, torch.float32),
                                               ({"avx2": True}, False, torch.float32)])
def test_products_are_in_what_the_processor_multiplies_and_weights_in_float32(made, able, full, dtype,
                                                                              monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    variant, batch, seen = made.tiny_variant(), made.made_batches().read(0), []
    variant.full_precision = full
    assert dtype_of(variant, CPU) == dtype
    optimization = Optimization(variant, CPU)
    for module in variant.network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.dtype))
    assert optimization.step(batch.inputs, batch.segmentation, 1e-3) > 0
    assert seen and {*seen} == {dtype}
    assert {each.dtype for each in optimization.parameters} == {each.grad.dtype
                                                                for each in optimization.parameters} == {torch.float32}


def test_schedule_by_hand() -> None:
    assert poly_learning_rate(0.5, 0, 100) == 0.5
    assert poly_learning_rate(1.0, 50, 100) == pytest.approx(0.5358867)  # 0.5 ** 0.9
    assert poly_learning_rate(1.0, 99, 100) == pytest.approx(0.01584893)  # 0.01 ** 0.9
    # The first tenth of a hundred; nothing of them.
    assert [warmed_up(0.1, iteration, 100) for iteration in (0, 4, 9, 10)] == [0.1, 0.5, 1.0, 1.0]
    assert warmed_up(0.0, 0, 100) == warmed_up(0.1, 0, 4) == 1.0


def test_the_log_has_a_line_each_epoch_and_the_loss_falls(undisturbed: Path) -> None:
    lines = logged(undisturbed)
    assert [line["iteration"] for line in lines] == [50, 100, 130]
    assert lines[-1]["loss"] < 0.85 * lines[0]["loss"]
    assert lines[1]["learning_rate"] == pytest.approx(1e-2 * (1 - 99 / 130) ** 0.9)
    assert (undisturbed / "progress.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_in_this_process_gives_the_same_bytes(made, tmp_path: Path, undisturbed: Path) -> None:
    torch.rand(17)  # what torch's random state was before must not matter
    assert run(made, tmp_path) == (undisturbed / CHECKPOINT).read_bytes()


@pytest.mark.parametrize("stop", [50, 101])
def test_stopped_and_continued_gives_the_same_bytes(made, tmp_path: Path, undisturbed: Path, stop: int) -> None:
    variant, calls = made.tiny_variant(), []

    def loss(logits: Tensor, segmentation: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > stop:
            raise KeyboardInterrupt
        return made.TinyVariant.loss(variant, logits, segmentation)

    variant.loss = loss
    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path, variant)
    assert len(logged(tmp_path)) == stop // 50
    assert run(made, tmp_path) == (undisturbed / CHECKPOINT).read_bytes()
    assert [line["iteration"] for line in logged(tmp_path)] == [50, 100, 130]


def test_killed_and_continued_gives_the_same_bytes(made, tmp_path: Path, undisturbed: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)])
    while not (tmp_path / LATEST).is_file() and process.poll() is None:
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert run(made, tmp_path) == (undisturbed / CHECKPOINT).read_bytes()
    assert [line["iteration"] for line in logged(tmp_path)] == [50, 100, 130]


def test_a_line_that_the_checkpoint_never_saw_is_dropped(made, tmp_path: Path, undisturbed: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"iteration": 50, "loss": 9.0, "learning_rate": 1.0, "seconds": 1.0}\n{"itera')
    assert run(made, tmp_path) == (undisturbed / CHECKPOINT).read_bytes()
    assert [line["iteration"] for line in logged(tmp_path)] == [50, 100, 130]
    assert logged(tmp_path)[0]["loss"] < 9


def test_a_loss_that_is_not_finite_names_iteration_and_cases(made, tmp_path: Path) -> None:
    variant = made.tiny_variant()
    variant.loss = lambda logits, segmentation: logits.sum() * float("nan")
    with pytest.raises(RuntimeError, match=r"nan at iteration 0, cases .*(one|two|three)"):
        run(made, tmp_path, variant)
    assert not (tmp_path / LATEST).exists()


def test_measuring_leaves_the_variant_as_it_was(made) -> None:
    variant = made.tiny_variant()
    before = {name: tensor.clone() for name, tensor in variant.state().items()}
    assert seconds_per_iteration(variant, made.made_batches(), CPU) > 0
    assert all(torch.equal(before[name], tensor) for name, tensor in variant.state().items())


def test_seconds_are_those_of_the_iterations_that_are_alike(made) -> None:
    batches, read = made.made_batches(), []
    batches.settled = 70
    original = batches.read
    batches.read = lambda iteration: read.append(iteration) or original(iteration)
    assert seconds_per_iteration(made.tiny_variant(), batches, CPU, iterations=2) > 0
    assert read == [70, 71, 72, 73, 74]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_mixed_precision_trains(made, tmp_path: Path) -> None:
    train(made.tiny_variant(), made.made_batches(), ITERATIONS, tmp_path, torch.device("cuda"))
    lines = logged(tmp_path)
    assert lines[-1]["loss"] < 0.85 * lines[0]["loss"]


def test_gradients_longer_than_12_are_shortened_to_12_and_others_stay(made) -> None:
    batch, norms = made.made_batches().read(0), []
    for factor in (1.0, 2.0, 1e4):
        variant = made.tiny_variant()
        variant.loss = lambda logits, segmentation, variant=variant, factor=factor: (
            factor * made.TinyVariant.loss(variant, logits, segmentation))
        optimization = Optimization(variant, CPU)
        torch.manual_seed(0)
        optimization.step(batch.inputs, batch.segmentation, 1e-3)
        norms.append(torch.cat([parameter.grad.flatten() for parameter in optimization.parameters]).norm().item())
    assert 0 < norms[0] < 6 and norms[1] == pytest.approx(2 * norms[0], rel=1e-2)
    assert norms[2] == pytest.approx(12.0, rel=1e-3)


def test_layers_that_draw_at_random_draw_again_in_each_iteration(made, tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        variant = made.tiny_variant()
        variant.loss = lambda logits, segmentation: drawn.append(torch.rand(1).item()) or logits.square().mean()
        train(variant, made.made_batches(), 3, tmp_path / str(len(drawn)), CPU)
    assert drawn[:3] == drawn[3:] and len({*drawn}) == 3


@pytest.mark.parametrize("damage", [
    lambda path: truncate(path, path.stat().st_size // 2),
    lambda path: flip(path, path.stat().st_size // 2),  # a weight or a moment, finite all the same
    lambda path: flip(path, path.stat().st_size - 2, 64),
    lambda path: rewrite(path, b"no tensors"),
    lambda path: save_weights(path, {"variant/other": torch.zeros(2)}),
])
def test_a_damaged_latest_checkpoint_starts_again_and_gives_the_same_bytes(
    made, tmp_path: Path, undisturbed: Path, damage, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / LATEST)
    assert run(made, tmp_path) == (undisturbed / CHECKPOINT).read_bytes()
    message = f"{tmp_path / LATEST} cannot be used, so training starts again from the first iteration"
    assert message in capsys.readouterr().err
    assert [line["iteration"] for line in logged(tmp_path)] == [50, 100, 130]
