"""Blocks read out by ridge regression: the regression by hand and against numpy, and what counts in its loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import pixel_shuffle

from samunet.pretraining import objectives
from samunet.pretraining.batches import Batch
from samunet.pretraining.objectives import Encoded, Objectives


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ridge_of(penalty: float) -> Objectives:
    """Blocks are read out with this penalty."""
    extra = Objectives()
    with torch.no_grad():
        extra.log_block_ridge.fill_(math.log(penalty))
    return extra


@dataclass(frozen=True)
class Blocks:
    """Four patients whose blocks follow linearly from eight channels of their embeddings; two are fitted, two read."""

    embeddings: Tensor  # (1, 4, 1, 256, 4, 4)
    clean: Tensor  # (1, 4, 1, 64, 64)
    # (1, 4, 64, 64), the right quarter of the two that are read, and half of the cells beside it, padding
    inside: Tensor
    read: list[int]

    def loss(self, extra: Objectives, clean: Tensor | None = None, embeddings: Tensor | None = None) -> float:
        clean = self.clean if clean is None else clean
        batch = Batch(torch.empty(0), torch.empty(0), clean, self.inside)
        encoded = Encoded(batch, self.embeddings if embeddings is None else embeddings, torch.empty(0))
        return float(objectives.reconstruction(encoded, extra, generator()).detach())


@pytest.fixture
def blocks() -> Blocks:
    torch.manual_seed(0)
    embeddings = torch.zeros(1, 4, 1, 256, 4, 4)
    embeddings[:, :, :, :8] = torch.randn(1, 4, 1, 8, 4, 4)
    clean = torch.einsum("fpschw,ck->fpskhw", embeddings[:, :, :, :8], torch.randn(8, 256) / 16) + 0.3
    inside = torch.ones(1, 4, 64, 64, dtype=torch.bool)
    read = torch.randperm(4, generator=generator())[2:].tolist()
    inside[:, read, :, 40:] = False
    return Blocks(embeddings, pixel_shuffle(clean, 16)[:, :, :, 0], inside, read)


def test_halves_are_all_patients_and_no_patient_twice() -> None:
    for patients, sizes in ((2, (1, 1)), (3, (1, 2)), (4, (2, 2))):
        fitted, read = objectives._halves(patients, generator())
        assert (len(fitted), len(read)) == sizes
        assert sorted([*fitted.tolist(), *read.tolist()]) == list(range(patients))
    assert len({tuple(objectives._halves(4, generator(seed))[0].tolist()) for seed in range(60)}) == 12


def test_cells_are_slice_by_slice_and_row_by_row() -> None:
    maps = torch.arange(24).view(1, 1, 2, 3, 2, 2)  # 12 to a slice, 4 to a channel, 2 to a row
    assert objectives._cells(maps)[0, 0].tolist() == [
        [0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11], [12, 16, 20], [13, 17, 21], [14, 18, 22], [15, 19, 23]]


def test_ridge_by_hand() -> None:
    seen, target = torch.tensor([[[4.0], [6.0]]]), torch.tensor([[[1.0], [3.0]]])
    # About the middle 5: slope 2 / (2 + 2), constant 4 / (2 + 2).
    answer = objectives.ridge(seen, target, torch.tensor([[[8.0], [5.0]]]), torch.tensor(2.0))
    torch.testing.assert_close(answer, torch.tensor([[[2.5], [1.0]]]))
    answer = objectives.ridge(seen, target, torch.tensor([[[8.0], [5.0]]]), torch.tensor(0.0))
    torch.testing.assert_close(answer, torch.tensor([[[5.0], [2.0]]]))


def test_ridge_is_least_squares_with_the_penalty_as_further_rows() -> None:
    random = np.random.default_rng(0)
    seen, target, unseen = (random.normal(1, 2, (2, *shape)) for shape in ((20, 6), (20, 3), (5, 6)))
    penalty = 7.0
    found = objectives.ridge(torch.tensor(seen), torch.tensor(target), torch.tensor(unseen), torch.tensor(penalty))
    for index in range(2):  # each of a batch by itself
        middle = seen[index].mean(0)
        rows, asked = (np.hstack([each - middle, np.ones((len(each), 1))]) for each in (seen[index], unseen[index]))
        weights, *_ = np.linalg.lstsq(np.vstack([rows, np.sqrt(penalty) * np.eye(7)]),
                                      np.vstack([target[index], np.zeros((7, 3))]), rcond=None)
        np.testing.assert_allclose(found[index].numpy(), asked @ weights, atol=1e-10)


def test_reconstruction_is_zero_where_blocks_follow_linearly_from_their_tokens(blocks) -> None:
    assert blocks.loss(ridge_of(1e-3)) == pytest.approx(0, abs=1e-6)
    assert blocks.loss(ridge_of(1e4)) > 0.05  # a penalty that lets nothing be learned
    assert blocks.loss(ridge_of(1e-3), embeddings=torch.zeros_like(blocks.embeddings)) > 0.05


def test_reconstruction_of_tokens_that_say_nothing_answers_the_mean_block(blocks) -> None:
    clean = torch.full_like(blocks.clean, 0.75)
    clean[:, blocks.read] = 1.0
    # 1 and 2 in the loss's units. 32 fitted cells and a penalty of 32: the constant is half of 1, wrong by 1 1/2.
    loss = blocks.loss(ridge_of(32.0), clean, torch.zeros_like(blocks.embeddings))
    assert loss == pytest.approx(1.0, rel=1e-5)
    clean[:, blocks.read] = 0.875  # 1 1/2, wrong by 1
    assert blocks.loss(ridge_of(32.0), clean, torch.zeros_like(blocks.embeddings)) == pytest.approx(0.5, rel=1e-5)


def test_reconstruction_counts_every_pixel_but_padding(blocks) -> None:
    extra = ridge_of(1e-3)
    beside = blocks.clean.clone()
    beside[:, blocks.read, :, :, 40:] += 1.0
    assert blocks.loss(extra, beside) == blocks.loss(extra)
    wrong = blocks.embeddings.clone()
    wrong[:, blocks.read, :, :8, :, 3] = 9.0  # tokens of cells that are padding all over
    assert blocks.loss(extra, embeddings=wrong) == blocks.loss(extra)
    beside[:, blocks.read, :, 3, 5] += 0.5  # one pixel of each image by 2 of the loss's units: 2 - 1/2
    assert blocks.loss(extra, beside) == pytest.approx(1.5 / (64 * 40), rel=1e-3)


def test_what_lies_under_padding_is_not_fitted(blocks) -> None:
    blocks.inside[..., 40:] = False  # of all patients
    beside = blocks.clean.clone()
    beside[..., 40:] += 1.0
    assert blocks.loss(ridge_of(1.0), beside) == blocks.loss(ridge_of(1.0))
