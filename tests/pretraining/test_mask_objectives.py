"""Mask losses of hand-made masks, and the click that corrects one."""

from __future__ import annotations

import math

import pytest
import torch

from samunet.networks.prompts import FOREGROUND
from samunet.networks.sam import Sam, set_input_size
from samunet.pretraining import mask_objectives
from samunet.pretraining.batches import Batch
from samunet.pretraining.mask_objectives import PIXEL_WEIGHT, answered, corrected, mask_loss, rating_loss
from samunet.pretraining.objectives import Encoded
from samunet.pretraining.queries import Queries, queries_by_place
from samunet.pretraining.regions import cell_coverage


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_mask_loss_of_an_undecided_mask() -> None:
    target = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    # Every pixel costs ln 2, 4 of them for 2 of the mask. Dice (2 * 1 + 1) / (2 + 2 + 1).
    loss = mask_loss(torch.zeros(1, 2, 2), target, torch.ones(1, 2, 2))
    torch.testing.assert_close(loss, torch.tensor([1 - 3 / 5 + PIXEL_WEIGHT * 2 * math.log(2)]))


def test_masks_below_a_64th_of_the_image_weigh_as_if_they_were_so_large() -> None:
    target = torch.zeros(2, 16, 16)
    target[0, 0, :2] = 1.0  # 2 of 256 pixels, 4 is the least that counts; and none
    logits = (target - 0.5) * 200
    logits[:, 5, :8] = 0.0  # 8 pixels undecided
    dice = torch.tensor([(2 * 2 + 1) / (2 + 4 + 2 + 1), 1 / (4 + 1)])
    expected = 1 - dice + PIXEL_WEIGHT * 8 * math.log(2) / 4
    torch.testing.assert_close(mask_loss(logits, target, torch.ones(2, 16, 16)), expected)


def test_mask_loss_leaves_padding_out() -> None:
    target, known = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    # Two pixels for one of the mask. Dice (2 * 1/2 + 1) / (1 + 1 + 1).
    loss = mask_loss(torch.zeros(1, 2, 2), target, known)
    torch.testing.assert_close(loss, torch.tensor([1 - 2 / 3 + PIXEL_WEIGHT * 2 * math.log(2)]))
    wild = torch.tensor([[[0.0, 0.0], [50.0, -50.0]]])
    torch.testing.assert_close(mask_loss(wild, target, known), loss)


def test_mask_loss_of_the_truth_is_zero_also_where_it_is_empty() -> None:
    target = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    loss = mask_loss((target - 0.5) * 200, target, torch.ones(2, 2, 2))
    torch.testing.assert_close(loss, torch.zeros(2))


def test_rating_is_compared_with_the_iou_found() -> None:
    target = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    logits = torch.tensor([[[[3.0, 3.0], [-3.0, -3.0]], [[3.0, -3.0], [3.0, -3.0]]]])  # IoU 1/3, then 1
    everywhere = torch.ones(1, 2, 2)
    assert float(rating_loss(logits, torch.tensor([[1 / 3, 1.0]]), target, everywhere)) == pytest.approx(0, abs=1e-12)
    found = rating_loss(logits, torch.tensor([[1 / 3 + 0.5, 0.0]]), target, everywhere)
    assert float(found) == pytest.approx((0.25 + 1) / 2)


def test_an_empty_answer_to_an_empty_target_is_an_iou_of_one() -> None:
    empty, everywhere = torch.full((1, 1, 2, 2), -1.0), torch.ones(1, 2, 2)
    assert float(rating_loss(empty, torch.tensor([[0.25]]), torch.zeros(1, 2, 2), everywhere)) == pytest.approx(0.75**2)
    # Padding is not part of the mask.
    known = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    beside = torch.tensor([[[[-1.0, 5.0], [-1.0, 5.0]]]])
    assert float(rating_loss(beside, torch.tensor([[1.0]]), torch.zeros(1, 2, 2), known)) == 0


def test_the_correction_clicks_the_wrong_pixel_as_what_it_should_be() -> None:
    target = torch.zeros(2, 8, 8)
    target[:, 1:5, 2:6] = 1.0
    logits = (target - 0.5) * 20
    logits[0, 3, 4] = -10.0  # left out: a foreground click
    logits[1, 6, 7] = 10.0  # too much: a background click
    click, kind = mask_objectives._correction(logits, target, torch.ones(2, 8, 8), generator())
    # The middle of decoder pixel (x 4, y 3), each 4 input pixels wide, whose own middles are whole numbers.
    assert click.tolist() == [[17.5, 13.5], [29.5, 25.5]]
    assert kind.tolist() == [1, 0]


def test_the_correction_leaves_padding_alone() -> None:
    target, known = torch.zeros(1, 8, 8), torch.ones(1, 8, 8)
    known[:, :, 4:] = 0.0
    logits = torch.full((1, 8, 8), -10.0)
    logits[0, 0, 6] = logits[0, 2, 3] = 10.0
    click, _ = mask_objectives._correction(logits, target, known, generator())
    assert click.tolist() == [[13.5, 9.5]]


@pytest.fixture
def queries(mini_sam: Sam, small_batch: Batch) -> Queries:
    """Eight points, then eight boxes."""
    set_input_size(mini_sam, 64)
    torch.manual_seed(0)
    encoded = Encoded(small_batch, torch.randn(1, 4, 2, 256, 4, 4), cell_coverage(small_batch))
    return queries_by_place(encoded, mini_sam.prompt_encoder, generator())


@torch.no_grad()
def test_a_correction_adds_the_answers_to_every_second_question_and_points_the_best_of_three(
    mini_sam: Sam, queries: Queries, monkeypatch
) -> None:
    asked, logits = [], torch.linspace(-1, 1, 3 * 256).view(3, 16, 16)

    def decode(decoder, embeddings, positions, sparse, dense):
        asked.append(sparse.shape[:2])
        count = len(embeddings)
        return torch.cat([torch.full((count, 1, 16, 16), 0.5), logits.expand(count, -1, -1, -1)], 1), torch.zeros(count,
                                                                                                                  4)

    monkeypatch.setattr(mask_objectives, "decode_masks", decode)
    found = corrected(queries, mini_sam, generator())
    assert asked == [(16, 2), (8, 3)]
    points = queries[:8]
    assert (queries.prompts.kinds[:, 0] == FOREGROUND).tolist() == [True] * 8 + [False] * 8
    best = torch.stack([mask_loss(each.expand(8, -1, -1), points.target, points.known)
                        for each in logits]).amin(0).mean()
    expected = answered(queries, mini_sam) + 0.5 * best + answered(queries[::2], mini_sam)
    torch.testing.assert_close(found, expected)
