"""The loop of the start's meta-learning: it learns, and a continued run is the unbroken one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from samunet.errors import UserError
from samunet.files import digest_of_file
from samunet.networks.checkpoints.tensor_files import read_tensors
from samunet.pretraining import start_trainer as module
from samunet.pretraining.start_episodes import make_episode
from samunet.pretraining.start_trainer import CARD, LOG, STATE, WEIGHTS, StartTrainer, read_weights
from samunet.pretraining.start_volumes import Kind, volume_plan

STRIDES, FULL, FLAT = ((1, 1, 1), (2, 2, 2)), (3, 3, 3), (1, 3, 3)
TINY = (Kind(volume_plan((8, 16, 16), STRIDES, (FULL, FULL)), (1.0, 1.0)),
        Kind(volume_plan((2, 24, 24), ((1, 1, 1), (1, 2, 2)), (FLAT, FULL)), (4.0, 4.0)))


class Killed(Exception):
    """Stands for a process that ends in the middle of a run."""


def trained(folder: Path, steps: int, weights: Path | None = None) -> StartTrainer:
    trainer = StartTrainer(folder, 7, weights, TINY)
    trainer.run(steps, judge=lambda features, start: {})
    return trainer


def test_the_loss_of_fixed_episodes_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WARM_UP", 1)
    monkeypatch.setattr(module, "STEPS_BETWEEN_LINES", 10)
    episodes = [make_episode(kind, 1, False, torch.Generator().manual_seed(2)) for kind in TINY]
    monkeypatch.setattr(module, "random_episode", lambda seed, step, kinds: episodes[step % len(kinds)])
    trained(tmp_path, 30)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 3 and losses[-1] < 0.7 * losses[0]


def test_a_run_that_was_killed_ends_with_the_bytes_of_the_unbroken_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEPS_BETWEEN_STATES", 2)
    monkeypatch.setattr(module, "STEPS_BETWEEN_LINES", 1)
    monkeypatch.setattr(module.time, "process_time", lambda: 0.0)  # seconds are in the files
    trained(tmp_path / "one", 5)
    step = StartTrainer._train_step

    def killed(self: StartTrainer, number: int) -> float:
        if number == 3:
            raise Killed
        return step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(StartTrainer, "_train_step", killed)
        with pytest.raises(Killed):
            trained(tmp_path / "two", 5)
    assert trained(tmp_path / "two", 5).scalars.step == 5
    assert (tmp_path / "one" / LOG).read_text() == (tmp_path / "two" / LOG).read_text()  # no line twice
    for name in (STATE, WEIGHTS):
        (one, said), (two, said_too) = (read_tensors(tmp_path / folder / name) for folder in ("one", "two"))
        assert said == said_too and one.keys() == two.keys()
        assert all(tensor.numpy().tobytes() == two[key].numpy().tobytes() for key, tensor in one.items())


def test_exported_weights_are_continued_with_other_episodes(tmp_path: Path) -> None:
    trained(tmp_path / "first", 2)
    weights, scalars = read_weights(tmp_path / "first" / WEIGHTS)
    card = json.loads((tmp_path / "first" / CARD).read_text())
    assert card["step"] == 2 and card["sha256"] == digest_of_file(tmp_path / "first" / WEIGHTS)
    assert scalars.step == 2 and all(tensor.dtype == torch.float32 for tensor in weights.values())
    continued = StartTrainer(tmp_path / "second", 7, tmp_path / "first" / WEIGHTS, TINY)
    assert continued.scalars.step == 2
    assert all(torch.equal(tensor, continued.average[name]) for name, tensor in weights.items())


def test_another_seed_does_not_continue_a_run(tmp_path: Path) -> None:
    trained(tmp_path, 1)
    with pytest.raises(UserError, match="seed that it began with"):
        StartTrainer(tmp_path, 8, None, TINY)


def test_the_averaged_weights_follow_the_last_ones(tmp_path: Path) -> None:
    """After one step the average is 1/10 the first weights and 9/10 the new ones."""
    first = StartTrainer(tmp_path / "a", 7, None, TINY).average
    trainer = trained(tmp_path / "b", 1)
    name = "decoder.0.convs.1.conv.weight"
    assert not torch.equal(trainer.start[name], first[name])
    assert torch.allclose(trainer.average[name], 0.1 * first[name] + 0.9 * trainer.start[name].detach(), atol=1e-7)
