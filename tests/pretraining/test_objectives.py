"""Losses of hand-made masks, embeddings and boxes, and which parameters the sum of all losses reaches."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from samunet.networks.in_context import region_tokens
from samunet.networks.sam import Sam
from samunet.pretraining import objectives
from samunet.pretraining.anatomy import LABELS
from samunet.pretraining.batches import Batch, BatchShape, make_batch
from samunet.pretraining.objectives import FOCAL_WEIGHT, Encoded, Objectives, mask_loss, rating_loss
from samunet.pretraining.pretrainer import loss_of, set_input_size
from samunet.pretraining.recipe import LOSSES


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def encoded_of(embeddings: Tensor, labels: Tensor) -> Encoded:
    """Embeddings (F, P, S, 256, g, g) whose cells hold one label each, labels int (F, P, S, g, g)."""
    pixels = labels.repeat_interleave(16, -1).repeat_interleave(16, -2).to(torch.uint8)
    inside = torch.ones(*pixels.shape[:2], *pixels.shape[3:], dtype=torch.bool)
    batch = Batch(torch.empty(0), pixels, torch.empty(0), inside)
    return Encoded(batch, embeddings, one_hot(labels, LABELS).movedim(-1, 3).float())


# --- masks


def test_mask_loss_of_an_undecided_mask() -> None:
    target = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    # Every pixel is wrong by 1/2: focal ln 2 / 4, in the mask and beside it. Dice (2 * 1 + 1) / (2 + 2 + 1).
    loss = mask_loss(torch.zeros(1, 2, 2), target, torch.ones(1, 2, 2))
    torch.testing.assert_close(loss, torch.tensor([FOCAL_WEIGHT * math.log(2) / 2 + 1 - 3 / 5]))


def test_a_small_mask_weighs_as_much_as_what_is_beside_it(monkeypatch) -> None:
    monkeypatch.setattr(objectives, "FOCAL_WEIGHT", 1.0)
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
    found = {tuple(pixel) for pixel in objectives._random_pixels(mask, generator()).tolist()}
    assert found == {(5.0, 2.0), (1.0, 4.0)}  # (x, y)
    anywhere = objectives._random_pixels(torch.zeros(500, 6, 8, dtype=torch.bool), generator())
    assert anywhere.amax(0).tolist() == [7.0, 5.0] and len({tuple(pixel) for pixel in anywhere.tolist()}) == 48


def test_boxes_without_jitter_are_tight(monkeypatch) -> None:
    monkeypatch.setattr(objectives, "BOX_JITTER", 0.0)
    mask = torch.zeros(3, 16, 16, dtype=torch.bool)
    mask[0, 2:5, 7:9] = True
    mask[1, 0, 0] = mask[1, 15, 3] = True
    boxes = objectives._jittered_boxes(mask, generator())
    # (x0, y0, x1, y1), ends after the last pixel; the whole picture where the mask is empty.
    assert boxes.tolist() == [[7, 2, 9, 5], [0, 0, 4, 16], [0, 0, 16, 16]]


def test_boxes_move_by_a_share_of_their_sides_and_stay_in_the_picture() -> None:
    mask = torch.zeros(500, 64, 64, dtype=torch.bool)
    mask[:, 10:20, 12:52] = True  # 40 wide, 10 high
    moved = objectives._jittered_boxes(mask, generator()) - torch.tensor([12.0, 10.0, 52.0, 20.0])
    # Noise is cut at 2 deviations of half of a tenth of the side: 4 and 1 pixels.
    assert moved.abs().amax(0).tolist() == pytest.approx([4.0, 1.0, 4.0, 1.0], abs=1e-4)
    mask[:] = True
    boxes = objectives._jittered_boxes(mask, generator())
    assert float(boxes.min()) == 0 and float(boxes.max()) == 64


def test_the_correction_clicks_the_wrong_pixel_as_what_it_should_be() -> None:
    target = torch.zeros(2, 8, 8)
    target[:, 1:5, 2:6] = 1.0
    logits = (target - 0.5) * 20
    logits[0, 3, 4] = -10.0  # left out: a foreground click
    logits[1, 6, 7] = 10.0  # too much: a background click
    click, kind = objectives._correction(logits, target, torch.ones(2, 8, 8), 4, generator())
    # The middle of decoder pixel (x 4, y 3), each 4 input pixels wide, whose own middles are whole numbers.
    assert click.tolist() == [[17.5, 13.5], [29.5, 25.5]]
    assert kind.tolist() == [1.0, 0.0]


def test_the_correction_leaves_padding_alone() -> None:
    target, known = torch.zeros(1, 8, 8), torch.ones(1, 8, 8)
    known[:, :, 4:] = 0.0
    logits = torch.full((1, 8, 8), -10.0)
    logits[0, 0, 6] = logits[0, 2, 3] = 10.0
    click, _ = objectives._correction(logits, target, known, 4, generator())
    assert click.tolist() == [[13.5, 9.5]]


def test_in_context_asks_for_a_label_that_the_supports_show(monkeypatch) -> None:
    area, supported = torch.zeros(1, 1, LABELS), torch.zeros(1, LABELS)
    area[..., 1], area[..., 3] = 4.0, 9.0
    supported[:, 1], supported[:, 2], supported[:, 4] = 5.0, 5.0, 0.4
    monkeypatch.setattr(objectives, "ABSENT_SHARE", 0.0)
    assert {int(objectives._wanted(area, supported, generator(seed))) for seed in range(20)} == {1}
    monkeypatch.setattr(objectives, "ABSENT_SHARE", 1.1)  # not in this slice; 4 is too small to be known
    assert {int(objectives._wanted(area, supported, generator(seed))) for seed in range(20)} == {2}


def test_support_tokens_are_those_of_the_chosen_patients_slices(mini_sam: Sam) -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 3, 2, 4, 4))
    encoded = encoded_of(torch.randn(2, 3, 2, 256, 4, 4), labels)
    wanted = torch.tensor([[0, 2], [1, 0]])
    prompts = mini_sam.prompt_encoder
    tokens = objectives._support_tokens(encoded, [2, 0], wanted, prompts)
    assert tokens.shape == (2, 2, 8, 256)
    for family, asked in product(range(2), range(2)):
        expected = [region_tokens(encoded.embeddings[family, patient, slice_][None],
                                  encoded.coverage[family, patient, slice_, wanted[family, asked]][None], prompts)[0]
                    for patient, slice_ in product((2, 0), range(2))]
        torch.testing.assert_close(tokens[family, asked], torch.cat(expected))


# --- dense losses


def balanced(grid: int, count: int = 4, patients: int = 4) -> Tensor:
    """Labels (1, patients, 1, grid, grid), each of `count` as often in every picture."""
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


def test_probe_does_not_ask_for_labels_that_the_fitted_half_lacks(sharp) -> None:
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


def two_labels(pictures: int) -> tuple[Tensor, Tensor]:
    """Labels (1, pictures, 1, 2, 2), two cells of each of two, and embeddings with 1 or -1 in channel 0."""
    labels = torch.tensor([[0, 1], [1, 0]]).expand(1, pictures, 1, 2, 2)
    embeddings = torch.zeros(1, pictures, 1, 256, 2, 2)
    embeddings[:, :, :, 0] = 1.0 - 2.0 * labels
    return labels, embeddings


def test_contrast_of_separated_labels_by_hand(plain_projection) -> None:
    labels, embeddings = two_labels(2)
    # In the other picture two cells are alike (1 / 0.1) and two opposite: -log(e^10 / (2 e^10 + 2 e^-10)).
    loss = objectives.contrastive(encoded_of(embeddings, labels), plain_projection, generator())
    assert float(loss.detach()) == pytest.approx(math.log(2 + 2 * math.exp(-20)), abs=1e-5)


def test_contrast_of_equal_features_is_at_chance(plain_projection) -> None:
    labels, embeddings = two_labels(3)
    loss = objectives.contrastive(encoded_of(torch.ones_like(embeddings), labels), plain_projection, generator())
    assert float(loss.detach()) == pytest.approx(math.log(8), abs=1e-5)  # four cells in each of two other pictures


def test_contrast_takes_pure_cells_of_other_pictures_only(plain_projection) -> None:
    labels, embeddings = two_labels(2)
    encoded = encoded_of(embeddings, labels)
    encoded.coverage[0, 1, 0, :, 0, 1] = 0.0
    encoded.coverage[0, 1, 0, 1:3, 0, 1] = 0.5  # no longer pure
    loss = float(objectives.contrastive(encoded, plain_projection, generator()).detach())
    # In the first picture cells of label 0 meet 2 alike and 1 opposite, of label 1 meet 1 and 2; in the other 2 and 2.
    opposite = math.exp(-20)
    first, second = math.log(2 + opposite), math.log(1 + 2 * opposite)
    assert loss == pytest.approx((2 * first + 2 * second + 3 * math.log(2 + 2 * opposite)) / 7, abs=1e-5)
    encoded.coverage.mul_(0.5)
    assert float(objectives.contrastive(encoded, plain_projection, generator()).detach()) == 0


# --- all of them


def all_losses(encoded: Encoded, sam: Sam, extra: Objectives, seed: int) -> dict[str, Tensor]:
    drawing = generator(seed)
    return {name: loss_of(encoded, sam, extra, name, drawing) for name in LOSSES}


def test_the_losses_together_reach_every_parameter(mini_sam: Sam) -> None:
    set_input_size(mini_sam, 64)
    torch.manual_seed(0)
    extra = Objectives()
    named = {**dict(mini_sam.named_parameters()), **dict(extra.named_parameters())}
    encoded = Encoded.of(make_batch(BatchShape(1, 4, 2, 64), 0, 0), mini_sam.image_encoder)
    values = all_losses(encoded, mini_sam, extra, 0)
    assert all(bool(value.isfinite()) for value in values.values())
    sum(values.values()).backward()
    # Of the three masks for ambiguous prompts only a picture's best one is trained: more prompts, until each has been it.
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
        first, again, other = (all_losses(encoded, mini_sam, extra, seed) for seed in (0, 0, 1))
    assert first == again
    # Contrast draws all cells at this size.
    drawn = [name for name in LOSSES if name != "contrastive"]
    assert all(not torch.equal(first[name], other[name]) for name in drawn)
