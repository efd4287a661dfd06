"""Dense losses of hand-made embeddings, and which parameters the sum of all losses reaches."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from samunet.networks.sam import Sam, set_input_size
from samunet.pretraining import objectives
from samunet.pretraining.anatomy import LABELS
from samunet.pretraining.batches import Batch, BatchShape, make_batch
from samunet.pretraining.losses import loss_of
from samunet.pretraining.objectives import PLACE_ERROR, Encoded, Objectives
from samunet.pretraining.recipe import LOSSES


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def encoded_of(embeddings: Tensor, labels: Tensor) -> Encoded:
    """Embeddings (F, P, S, 256, g, g) whose cells hold one label each, labels int (F, P, S, g, g)."""
    pixels = labels.repeat_interleave(16, -1).repeat_interleave(16, -2).to(torch.uint8)
    inside = torch.ones(*pixels.shape[:2], *pixels.shape[3:], dtype=torch.bool)
    batch = Batch(torch.empty(0), pixels, torch.empty(0), inside)
    return Encoded(batch, embeddings, one_hot(labels, LABELS).movedim(-1, 3).float())


# --- dense losses


def balanced(grid: int, count: int = 4, patients: int = 4) -> Tensor:
    """Labels (1, patients, 1, grid, grid), each of `count` as often in every image."""
    order = torch.arange(grid * grid) % count
    torch.manual_seed(0)
    return torch.stack([order[torch.randperm(grid * grid)].view(grid, grid) for _ in range(patients)])[None, :, None]


@pytest.fixture
def sharp() -> Objectives:
    """A probe with a penalty of 10 cells and a sharpness of 5."""
    extra = Objectives()
    with torch.no_grad():
        extra.log_ridge.fill_(math.log(10))
        extra.log_sharpness.fill_(math.log(5))
    return extra


def test_probe_reads_features_that_hold_the_label(sharp) -> None:
    labels = balanced(8)
    embeddings = 10 * one_hot(labels, 256).movedim(-1, 3).float()
    # Nearly 1 for the right label and 0 for three others, times a sharpness of 5.
    loss = objectives.probe(encoded_of(embeddings, labels), sharp, generator())
    assert float(loss.detach()) == pytest.approx(math.log(1 + 3 * math.exp(-5)), abs=0.01)


def test_probe_of_features_that_say_nothing_is_at_chance(sharp) -> None:
    labels = balanced(8)
    blank = objectives.probe(encoded_of(torch.zeros(1, 4, 1, 256, 8, 8), labels), sharp, generator())
    assert float(blank.detach()) == pytest.approx(math.log(4), abs=1e-5)
    torch.manual_seed(1)
    noise = 0.1 * torch.randn(1, 4, 1, 256, 8, 8)
    loss = objectives.probe(encoded_of(noise, labels), sharp, generator())
    assert float(loss.detach()) == pytest.approx(math.log(4), abs=0.05)


def test_probe_ignores_labels_that_the_fitted_half_lacks(sharp) -> None:
    labels = balanced(4, 2, 2)
    read = int(torch.randperm(2, generator=generator())[1])
    labels[:, read, :, :2] = 5
    loss = objectives.probe(encoded_of(torch.zeros(1, 2, 1, 256, 4, 4), labels), sharp, generator())
    assert float(loss.detach()) == pytest.approx(math.log(2), abs=1e-5)


@pytest.fixture
def plain_projection(monkeypatch) -> Objectives:
    """The projection keeps the first 128 channels; similarities are divided by 0.1."""
    monkeypatch.setattr(objectives, "TEMPERATURE", 0.1)
    extra = Objectives()
    with torch.no_grad():
        extra.projection.weight.copy_(torch.eye(128, 256)[..., None, None])
        extra.projection.bias.zero_()
    return extra


def two_labels(images: int) -> tuple[Tensor, Tensor]:
    """Labels (1, images, 1, 2, 2), two cells of each of two, and embeddings with 1 or -1 in channel 0."""
    labels = torch.tensor([[0, 1], [1, 0]]).expand(1, images, 1, 2, 2)
    embeddings = torch.zeros(1, images, 1, 256, 2, 2)
    embeddings[:, :, :, 0] = 1.0 - 2.0 * labels
    return labels, embeddings


def test_contrast_of_separated_labels_by_hand(plain_projection) -> None:
    labels, embeddings = two_labels(2)
    # In the other image two cells are alike (1 / 0.1) and two opposite: -log(e^10 / (2 e^10 + 2 e^-10)).
    loss = objectives.contrastive(encoded_of(embeddings, labels), plain_projection, generator())
    assert float(loss.detach()) == pytest.approx(math.log(2 + 2 * math.exp(-20)), abs=1e-5)


def test_contrast_of_equal_features_is_at_chance(plain_projection) -> None:
    labels, embeddings = two_labels(3)
    loss = objectives.contrastive(encoded_of(torch.ones_like(embeddings), labels), plain_projection, generator())
    assert float(loss.detach()) == pytest.approx(math.log(8), abs=1e-5)  # four cells in each of two other images


def test_contrast_takes_pure_cells_of_other_images_only(plain_projection) -> None:
    labels, embeddings = two_labels(2)
    encoded = encoded_of(embeddings, labels)
    encoded.coverage[0, 1, 0, :, 0, 1] = 0.0
    encoded.coverage[0, 1, 0, 1:3, 0, 1] = 0.5  # no longer pure
    loss = float(objectives.contrastive(encoded, plain_projection, generator()).detach())
    # In the first image cells of label 0 meet 2 alike and 1 opposite, of label 1 meet 1 and 2; in the other 2 and 2.
    opposite = math.exp(-20)
    first, second = math.log(2 + opposite), math.log(1 + 2 * opposite)
    assert loss == pytest.approx((2 * first + 2 * second + 3 * math.log(2 + 2 * opposite)) / 7, abs=1e-5)
    encoded.coverage.mul_(0.5)
    assert float(objectives.contrastive(encoded, plain_projection, generator()).detach()) == 0


def test_places_are_orthogonal_waves_of_mean_0_and_mean_square_1() -> None:
    waves = objectives.places(16, torch.device("cpu"))
    assert waves.shape == (256, 63)
    torch.testing.assert_close(waves.T @ waves / 256, torch.eye(63), atol=1e-5, rtol=0)
    torch.testing.assert_close(waves.mean(0), torch.zeros(63), atol=1e-5, rtol=0)
    # A grid of 2 x 2: the middles lie at 1/4 and 3/4, the half wave there is sqrt(2) cos(pi / 4) = 1 and -1.
    found = objectives.places(2, torch.device("cpu"))
    torch.testing.assert_close(found, torch.tensor([[1.0, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]]))


def test_position_is_read_from_features_that_hold_it_and_not_from_blank_ones() -> None:
    extra = Objectives()
    with torch.no_grad():
        extra.log_place_ridge.fill_(math.log(1e-3))
    labels = balanced(8)
    told = torch.zeros(1, 4, 1, 256, 8, 8)
    told[:, :, :, :63] = objectives.places(8, torch.device("cpu")).T.view(63, 8, 8)
    blank = objectives.position(encoded_of(torch.zeros_like(told), labels), extra, generator())
    assert float(blank.detach()) == pytest.approx(1.0 - PLACE_ERROR)
    # Half of the waves: the other half is unknown.
    told[:, :, :, 31:] = 0.0
    half = objectives.position(encoded_of(told, labels), extra, generator())
    assert float(half.detach()) == pytest.approx(32 / 63 - PLACE_ERROR, abs=1e-3)


def test_position_has_no_gradient_below_the_sufficient_error() -> None:
    extra = Objectives()
    with torch.no_grad():
        extra.log_place_ridge.fill_(math.log(1e-3))
    told = torch.zeros(1, 4, 1, 256, 8, 8)
    told[:, :, :, :48] = objectives.places(8, torch.device("cpu")).T.view(63, 8, 8)[:48]  # 15 of 63 are missing: 0.24
    told.requires_grad_()
    loss = objectives.position(encoded_of(told, balanced(8)), extra, generator())
    loss.backward()
    assert float(loss.detach()) == 0 and told.grad is not None and not bool(told.grad.any())


# --- all of them


def all_losses(encoded: Encoded, sam: Sam, extra: Objectives, seed: int) -> dict[str, Tensor]:
    drawing = generator(seed)
    return {name: loss_of(encoded, sam, extra, name, drawing) for name in LOSSES}


def test_the_losses_together_reach_every_parameter(mini_sam: Sam, monkeypatch) -> None:
    monkeypatch.setattr(objectives, "PLACE_ERROR", 0.0)  # such a small image needs no training
    set_input_size(mini_sam, 64)
    torch.manual_seed(0)
    extra = Objectives()
    named = {**dict(mini_sam.named_parameters()), **dict(extra.named_parameters())}
    encoded = Encoded.of(make_batch(BatchShape(1, 4, 2, 64), 0, 0), mini_sam.image_encoder)
    values = all_losses(encoded, mini_sam, extra, 0)
    assert all(bool(value.isfinite()) for value in values.values())
    sum(values.values()).backward()
    # Of the three masks for ambiguous prompts only an image's best one is trained: more prompts, until each has been
    # it.
    fixed = Encoded(encoded.batch, encoded.embeddings.detach(), encoded.coverage)
    untouched = list(named)
    for seed in range(1, 40):
        untouched = [name for name in untouched if named[name].grad is None or not bool(named[name].grad.any())]
        if not untouched:
            break
        loss_of(fixed, mini_sam, extra, "promptable", generator(seed)).backward()
    mini_sam.zero_grad()
    assert untouched == []


def test_losses_follow_from_their_generator(mini_sam: Sam, small_batch: Batch) -> None:
    set_input_size(mini_sam, 64)
    extra = Objectives()
    with torch.no_grad():
        encoded = Encoded.of(small_batch, mini_sam.image_encoder)
        first, again, *others = (all_losses(encoded, mini_sam, extra, seed) for seed in (0, 0, 1, 2, 3))
    assert first == again
    # Contrast draws all cells at this size, and of four patients few halves can be drawn.
    drawn = [name for name in LOSSES if name != "contrastive"]
    assert all(any(not torch.equal(first[name], other[name]) for other in others) for name in drawn)
