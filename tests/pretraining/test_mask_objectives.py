"""Mask losses of hand-made masks, and what the decoder is asked for: points, boxes, ellipses, corrections, regions."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch.nn.functional import one_hot

from samunet.networks.in_context import region_tokens
from samunet.networks.sam import Sam
from samunet.pretraining import mask_objectives
from samunet.pretraining.anatomy import LABELS
from samunet.pretraining.batches import Batch
from samunet.pretraining.mask_objectives import FOCAL_WEIGHT, mask_loss, rating_loss
from samunet.pretraining.objectives import Encoded
from samunet.pretraining.pretrainer import set_input_size
from samunet.pretraining.regions import cell_coverage


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- masks


def test_mask_loss_of_an_undecided_mask() -> None:
    target = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    # Every pixel is wrong by 1/2: focal ln 2 / 4, in the mask and beside it. Dice (2 * 1 + 1) / (2 + 2 + 1).
    loss = mask_loss(torch.zeros(1, 2, 2), target, torch.ones(1, 2, 2))
    torch.testing.assert_close(loss, torch.tensor([FOCAL_WEIGHT * math.log(2) / 2 + 1 - 3 / 5]))


def test_a_small_mask_weighs_as_much_as_what_is_beside_it(monkeypatch) -> None:
    monkeypatch.setattr(mask_objectives, "FOCAL_WEIGHT", 1.0)
    target, everywhere = torch.zeros(1, 4, 4), torch.ones(1, 4, 4)
    target[0, 0, 0] = 1.0
    # Undecided in the mask's pixel alone, then in the 15 others alone: focal ln 2 / 4 both times.
    inner, outer = (target - 0.5) * 200, (target - 0.5) * 200
    inner[target == 1], outer[target == 0] = 0.0, 0.0
    # Dice (2 * 1/2 + 1) / (1/2 + 1 + 1), then (2 * 1 + 1) / (1 + 15 / 2 + 1 + 1).
    dice = torch.tensor([1 - 2 / 2.5, 1 - 3 / 10.5])
    found = torch.cat([mask_loss(logits, target, everywhere) for logits in (inner, outer)])
    torch.testing.assert_close(found - dice, torch.full((2,), math.log(2) / 4))


def test_mask_loss_leaves_padding_out() -> None:
    target, known = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    # Focal ln 2 / 4 of the one pixel in the mask and of the one beside it. Dice (2 * 1/2 + 1) / (1 + 1 + 1).
    loss = mask_loss(torch.zeros(1, 2, 2), target, known)
    torch.testing.assert_close(loss, torch.tensor([FOCAL_WEIGHT * math.log(2) / 2 + 1 - 2 / 3]))
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
    # What lies in the padding is no part of the answer.
    known = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    beside = torch.tensor([[[[-1.0, 5.0], [-1.0, 5.0]]]])
    assert float(rating_loss(beside, torch.tensor([[1.0]]), torch.zeros(1, 2, 2), known)) == 0


# --- prompts


def test_a_random_pixel_lies_in_the_mask() -> None:
    mask = torch.zeros(200, 6, 8, dtype=torch.bool)
    mask[:, 2, 5] = mask[:, 4, 1] = True
    found = {tuple(pixel) for pixel in mask_objectives._random_pixels(mask, generator()).tolist()}
    assert found == {(5.0, 2.0), (1.0, 4.0)}  # (x, y)
    anywhere = mask_objectives._random_pixels(torch.zeros(500, 6, 8, dtype=torch.bool), generator())
    assert anywhere.amax(0).tolist() == [7.0, 5.0] and len({tuple(pixel) for pixel in anywhere.tolist()}) == 48


def test_boxes_without_jitter_are_tight(monkeypatch) -> None:
    monkeypatch.setattr(mask_objectives, "BOX_JITTER", 0.0)
    mask = torch.zeros(3, 16, 16, dtype=torch.bool)
    mask[0, 2:5, 7:9] = True
    mask[1, 0, 0] = mask[1, 15, 3] = True
    boxes = mask_objectives._jittered_boxes(mask, generator())
    # (x0, y0, x1, y1), ends after the last pixel; the whole picture where the mask is empty.
    assert boxes.tolist() == [[7, 2, 9, 5], [0, 0, 4, 16], [0, 0, 16, 16]]


def test_boxes_move_by_a_share_of_their_sides_and_stay_in_the_picture() -> None:
    mask = torch.zeros(500, 64, 64, dtype=torch.bool)
    mask[:, 10:20, 12:52] = True  # 40 wide, 10 high
    moved = mask_objectives._jittered_boxes(mask, generator()) - torch.tensor([12.0, 10.0, 52.0, 20.0])
    # Noise is cut at 2 deviations of half of a tenth of the side: 4 and 1 pixels.
    assert moved.abs().amax(0).tolist() == pytest.approx([4.0, 1.0, 4.0, 1.0], abs=1e-4)
    mask[:] = True
    boxes = mask_objectives._jittered_boxes(mask, generator())
    assert float(boxes.min()) == 0 and float(boxes.max()) == 64


def test_every_picture_is_asked_about_twice_for_a_label_that_it_shows(small_batch: Batch) -> None:
    coverage = cell_coverage(small_batch)
    pictures = torch.arange(8.0).view(1, 4, 2, 1, 1, 1).expand(1, 4, 2, 256, 4, 4)
    embeddings, mask, target, known = mask_objectives._asked(Encoded(small_batch, pictures, coverage), generator())
    asked = embeddings[:, 0, 0, 0].long()
    assert sorted(asked.tolist()) == sorted([*range(8)] * 2)
    labels, inside = small_batch.labels.flatten(0, 2), small_batch.inside.repeat_interleave(2, 1).flatten(0, 1)
    for picture, region, share, seen in zip(asked, mask, target, known, strict=True):
        shown = labels[picture][region].unique()
        assert len(shown) == 1 and torch.equal(region, (labels[picture] == shown) & inside[picture])
        torch.testing.assert_close(share, region.float().unflatten(0, (16, 4)).unflatten(2, (16, 4)).mean((1, 3)))
        torch.testing.assert_close(seen, inside[picture].float().unflatten(0, (16, 4)).unflatten(2, (16, 4)).mean((1, 3)))


def test_the_ellipse_touches_the_sides_of_its_box() -> None:
    # 8 x 8 decoder pixels of 4 input pixels: columns 1 to 6, rows 2 to 5.
    found = mask_objectives._ellipses(torch.tensor([[4.0, 8.0, 28.0, 24.0], [4.0, 8.0, 4.0, 8.0]]), 8, 4)
    wanted = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 0]] * 2 + [[0, 0, 1, 1, 1, 1, 0, 0]] + [[0, 1, 1, 1, 1, 1, 1, 0]] * 2
                          + [[0, 0, 1, 1, 1, 1, 0, 0]] + [[0, 0, 0, 0, 0, 0, 0, 0]] * 2)
    assert torch.equal(found[0], wanted.float())
    assert not found[1].any()  # a box without area


def test_the_first_lesson_asks_for_ellipses_whatever_the_picture_shows(mini_sam: Sam, small_batch: Batch, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(mask_objectives, "mask_loss", lambda logits, target, known: asked.append(target) or logits.sum((1, 2)))
    set_input_size(mini_sam, 64)
    encoded = Encoded(small_batch, torch.randn(1, 4, 2, 256, 4, 4), cell_coverage(small_batch))
    with torch.no_grad():
        mask_objectives.inscribed(encoded, mini_sam, generator())
    _, mask, _, _ = mask_objectives._asked(encoded, drawing := generator())
    boxes = mask_objectives._jittered_boxes(mask, drawing)
    assert len(asked) == 1 and torch.equal(asked[0], mask_objectives._ellipses(boxes, 16, 4))


def test_the_correction_clicks_the_wrong_pixel_as_what_it_should_be() -> None:
    target = torch.zeros(2, 8, 8)
    target[:, 1:5, 2:6] = 1.0
    logits = (target - 0.5) * 20
    logits[0, 3, 4] = -10.0  # left out: a foreground click
    logits[1, 6, 7] = 10.0  # too much: a background click
    click, kind = mask_objectives._correction(logits, target, torch.ones(2, 8, 8), 4, generator())
    # The middle of decoder pixel (x 4, y 3), each 4 input pixels wide, whose own middles are whole numbers.
    assert click.tolist() == [[17.5, 13.5], [29.5, 25.5]]
    assert kind.tolist() == [1.0, 0.0]


def test_the_correction_leaves_padding_alone() -> None:
    target, known = torch.zeros(1, 8, 8), torch.ones(1, 8, 8)
    known[:, :, 4:] = 0.0
    logits = torch.full((1, 8, 8), -10.0)
    logits[0, 0, 6] = logits[0, 2, 3] = 10.0
    click, _ = mask_objectives._correction(logits, target, known, 4, generator())
    assert click.tolist() == [[13.5, 9.5]]


def test_in_context_asks_for_a_label_that_the_supports_show(monkeypatch) -> None:
    area, supported = torch.zeros(1, 1, LABELS), torch.zeros(1, LABELS)
    area[..., 1], area[..., 3] = 4.0, 9.0
    supported[:, 1], supported[:, 2], supported[:, 4] = 5.0, 5.0, 0.4
    monkeypatch.setattr(mask_objectives, "ABSENT_SHARE", 0.0)
    assert {int(mask_objectives._wanted(area, supported, generator(seed))) for seed in range(20)} == {1}
    monkeypatch.setattr(mask_objectives, "ABSENT_SHARE", 1.1)  # not in this slice; 4 is too small to be known
    assert {int(mask_objectives._wanted(area, supported, generator(seed))) for seed in range(20)} == {2}


def test_support_tokens_are_those_of_the_chosen_patients_slices(mini_sam: Sam, small_batch: Batch) -> None:
    torch.manual_seed(0)
    coverage = one_hot(torch.randint(0, 3, (2, 3, 2, 4, 4)), LABELS).movedim(-1, 3).float()
    encoded = Encoded(small_batch, torch.randn(2, 3, 2, 256, 4, 4), coverage)
    wanted = torch.tensor([[0, 2], [1, 0]])
    prompts = mini_sam.prompt_encoder
    tokens = mask_objectives._support_tokens(encoded, [2, 0], wanted, prompts)
    assert tokens.shape == (2, 2, 8, 256)
    for family, asked in product(range(2), range(2)):
        expected = [region_tokens(encoded.embeddings[family, patient, slice_][None],
                                  encoded.coverage[family, patient, slice_, wanted[family, asked]][None], prompts)[0]
                    for patient, slice_ in product((2, 0), range(2))]
        torch.testing.assert_close(tokens[family, asked], torch.cat(expected))
