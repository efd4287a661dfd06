"""A head from hand-made features, and the loss and Dice of hand-made logits."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from samunet.networks.start import canonical_network, start_of
from samunet.pretraining.start_episodes import KINDS, Episode, make_episode
from samunet.pretraining.start_probe import Features, dice_of, logits_of, loss_of
from samunet.pretraining.start_volumes import volume_plan

ZERO = torch.tensor(0.0)


def columns(*classes: int) -> Tensor:
    """Classes uint8 (1, 1, 1, X) of one patient."""
    return torch.tensor(classes, dtype=torch.uint8)[None, None, None]


def logits(*rows: list[float]) -> Tensor:
    """(1, K, 1, 1, X), a row for each class."""
    return torch.tensor(rows)[None, :, None, None]


def test_a_head_reads_the_feature_that_separates_the_classes_and_ignores_the_others() -> None:
    """Feature 0 is -1 for background and 1 for the class; with a penalty of 0.01 its slope is 5 / 1.01."""
    classes = torch.cat([columns(0, 0, 0, 1), columns(1, 1, 0, 1)])
    features = torch.stack([classes * 2.0 - 1, torch.zeros(classes.shape)], 1)
    episode = Episode(KINDS[0], torch.zeros(2, 5, 1, 1, 4), classes, 1, False)
    found = logits_of(features, episode)
    assert found.shape == (1, 2, 1, 1, 4)
    right = 5 / 1.01
    wanted = logits([-right, -right, right, -right], [right, right, -right, right])
    assert torch.allclose(found, wanted, atol=1e-4)
    assert dice_of(found, classes[1:]) == 1


def test_classes_weigh_alike_in_the_head() -> None:
    """Without a feature, the head is the mean of the targets: 0 where both classes weigh alike, whatever their sizes.
    """
    classes = torch.cat([columns(0, 0, 0, 1), columns(0, 0, 0, 0)])
    found = logits_of(torch.zeros(2, 1, 1, 1, 4), Episode(KINDS[0], torch.zeros(0), classes, 1, False))
    assert torch.allclose(found, torch.zeros(1, 2, 1, 1, 4), atol=1e-6)


def test_loss_of_equal_logits() -> None:
    """ln 2, and 1 - Dice: shares of 1/2 everywhere, 1 of 4 voxels: 2 * 0.5 / (2 + 1) = 1/3."""
    value = loss_of(logits([0.0] * 4, [0.0] * 4), columns(0, 0, 0, 1), ZERO)
    assert float(value) == pytest.approx(math.log(2) + 2 / 3, abs=1e-5)


def test_temperature_multiplies_the_logits() -> None:
    """Logits of 0 and 1 at a temperature of ln 3 are odds of 3."""
    value = loss_of(logits([0.0], [1.0]), columns(1), torch.tensor(math.log(math.log(3))))
    assert float(value) == pytest.approx(-math.log(0.75) + 1 - 1.5 / 1.75, abs=1e-5)


def test_dice_is_the_mean_of_the_classes_shown() -> None:
    """Class 1: 1 of 2 found voxels is right, 2 are wanted: 1/2. Class 2 is not shown, so its wrong voxel costs only
    class 1."""
    found = logits([0.0, 0, 0, 1], [1.0, 1, 0, 0], [0.0, 0, 1, 0])
    assert dice_of(found, columns(1, 0, 1, 0)) == 0.5
    assert dice_of(found, columns(0, 0, 0, 0)) == 1.0


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_every_kind_of_volumes_has_features_that_train_all_weights(kind: int) -> None:
    small = replace(KINDS[kind], plan=volume_plan((8, 16, 16), KINDS[kind].plan.strides, KINDS[kind].plan.kernels))
    episode = make_episode(small, 1, True, torch.Generator().manual_seed(3))
    start = {name: tensor.detach().requires_grad_() for name, tensor in start_of(canonical_network()).items()}
    features = Features(episode.kind.plan).of(start, episode.inputs)
    loss_of(logits_of(features, episode), episode.classes[episode.labelled :], ZERO).backward()
    grads = {name: tensor.grad for name, tensor in start.items()}
    assert [name for name, grad in grads.items() if grad is None or not bool(grad.abs().sum() > 0)] == []
