"""Queries of the decoder: points, boxes, regions of other patients."""

from __future__ import annotations

import torch
from torch.nn.functional import avg_pool2d

from samunet.networks.in_context import region_prompts
from samunet.networks.prompts import BACKGROUND, FIRST_CORNER, FOREGROUND, NO_POINT, SURE, Prompts
from samunet.networks.sam import Sam, set_input_size
from samunet.pretraining import queries
from samunet.pretraining.anatomy import LABELS
from samunet.pretraining.batches import Batch
from samunet.pretraining.objectives import Encoded
from samunet.pretraining.queries import jittered_boxes, queries_by_place, queries_in_context, random_pixels
from samunet.pretraining.regions import cell_coverage


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(batch: Batch) -> Encoded:
    """Embeddings that hold their image's number."""
    images = torch.arange(8.0).view(1, 4, 2, 1, 1, 1).expand(1, 4, 2, 256, 4, 4)
    return Encoded(batch, images, cell_coverage(batch))


def test_a_random_pixel_lies_in_the_mask() -> None:
    mask = torch.zeros(200, 6, 8, dtype=torch.bool)
    mask[:, 2, 5] = mask[:, 4, 1] = True
    found = {tuple(pixel) for pixel in random_pixels(mask, generator()).tolist()}
    assert found == {(5.0, 2.0), (1.0, 4.0)}  # (x, y)
    anywhere = random_pixels(torch.zeros(500, 6, 8, dtype=torch.bool), generator())
    assert anywhere.amax(0).tolist() == [7.0, 5.0] and len({tuple(pixel) for pixel in anywhere.tolist()}) == 48


def test_boxes_without_jitter_are_tight(monkeypatch) -> None:
    monkeypatch.setattr(queries, "BOX_JITTER", 0.0)
    mask = torch.zeros(3, 16, 16, dtype=torch.bool)
    mask[0, 2:5, 7:9] = True
    mask[1, 0, 0] = mask[1, 15, 3] = True
    boxes = jittered_boxes(mask, generator())
    # (x0, y0, x1, y1), ends after the last pixel; the whole image where the mask is empty.
    assert boxes.tolist() == [[7, 2, 9, 5], [0, 0, 4, 16], [0, 0, 16, 16]]


def test_boxes_move_by_a_share_of_their_sides_and_stay_in_the_image() -> None:
    mask = torch.zeros(500, 64, 64, dtype=torch.bool)
    mask[:, 10:20, 12:52] = True  # 40 wide, 10 high
    moved = jittered_boxes(mask, generator()) - torch.tensor([12.0, 10.0, 52.0, 20.0])
    # Noise is cut at 2 standard deviations of half of a tenth of the side, 4 and 1 pixels, and every box has its own
    # share of it.
    farthest = (moved.abs() / torch.tensor([4.0, 1.0, 4.0, 1.0])).amax(1)
    assert 0.8 < float(farthest.max()) <= 1 and float((farthest < 0.1).float().mean()) > 0.05
    mask[:] = True
    boxes = jittered_boxes(mask, generator())
    assert float(boxes.min()) == 0 and float(boxes.max()) == 64


def test_every_image_has_two_queries_for_labels_that_it_shows(mini_sam: Sam, small_batch: Batch,
                                                                      monkeypatch) -> None:
    monkeypatch.setattr(queries, "BOX_JITTER", 0.0)
    set_input_size(mini_sam, 64)
    asked = queries_by_place(numbered(small_batch), mini_sam.prompt_encoder, generator())
    images = asked.embeddings[:, 0, 0, 0].long()
    assert sorted(images.tolist()) == sorted([*range(8)] * 2)
    assert asked.prompts.kinds.tolist() == [[FOREGROUND, NO_POINT]] * 8 + [[2, 3]] * 8
    labels, inside = small_batch.labels.flatten(0, 2), small_batch.inside.repeat_interleave(2, 1).flatten(0, 1)
    for index, image in enumerate(images):
        torch.testing.assert_close(asked.known[index], avg_pool2d(inside[image].float()[None], 4)[0])
        shares = {int(label): avg_pool2d(((labels[image] == label) & inside[image]).float()[None], 4)[0]
                  for label in labels[image].unique()}
        shown = [label for label, share in shares.items() if torch.equal(share, asked.target[index])]
        assert len(shown) == 1
        if asked.prompts.masked[index]:  # the ellipse fills the mask's box
            ellipse, (rows, columns) = asked.prompts.masks[index, 0] > 0, (shares[shown[0]] > 0).nonzero().T
            assert not ellipse[: rows.min()].any() and not ellipse[rows.max() + 1 :].any()
            assert not ellipse[:, : columns.min()].any() and not ellipse[:, columns.max() + 1 :].any()


def test_in_context_queries_a_label_that_the_supports_show(monkeypatch) -> None:
    area, supported = torch.zeros(1, 1, LABELS), torch.zeros(1, LABELS)
    area[..., 1], area[..., 3] = 4.0, 9.0
    supported[:, 1], supported[:, 2], supported[:, 4] = 5.0, 5.0, 0.4
    monkeypatch.setattr(queries, "ABSENT_SHARE", 0.0)
    assert {int(queries._wanted(area, supported, generator(seed))) for seed in range(20)} == {1}
    monkeypatch.setattr(queries, "ABSENT_SHARE", 1.1)  # not in this slice; 4 is too small to be known
    assert {int(queries._wanted(area, supported, generator(seed))) for seed in range(20)} == {2}


def test_regions_of_other_patients_query_every_image(small_batch: Batch, monkeypatch) -> None:
    monkeypatch.setattr(queries, "ABSENT_SHARE", 0.0)
    torch.manual_seed(0)
    encoded = Encoded(small_batch, torch.randn(1, 4, 2, 256, 4, 4), cell_coverage(small_batch))
    asked = queries_in_context(encoded, drawn := generator())
    drawn = generator()
    supports = int(torch.randint(1, 4, (1,), generator=drawn))
    order = torch.randperm(4, generator=drawn).tolist()
    # three patients of two slices, a region and a rest each
    assert len(asked) == 8 and asked.prompts.kinds.shape == (8, 12)
    for number, patient in enumerate(order):
        chosen = [order[(number + offset) % 4] for offset in range(1, supports + 1)]
        of_labels = region_prompts(encoded.embeddings[0, chosen].flatten(0, 1),
                                   encoded.coverage[0, chosen].flatten(0, 1),
                                   encoded.embeddings[0, patient])
        for slice_ in range(2):
            index = 2 * number + slice_
            assert torch.equal(asked.embeddings[index], encoded.embeddings[0, patient, slice_])
            labels = small_batch.labels[0, patient, slice_]
            targets = [avg_pool2d(((labels == label) & small_batch.inside[0, patient]).float()[None], 4)[0]
                       for label in range(LABELS)]
            label, = (label for label in range(LABELS) if torch.equal(targets[label], asked.target[index])
                      and targets[label].any())
            expected = of_labels[label][slice_ : slice_ + 1]
            tokens = 4 * supports
            assert torch.equal(asked.prompts.content[index, :tokens], expected.content[0])
            assert torch.equal(asked.prompts.masks[index], expected.masks[0])
            assert set(asked.prompts.kinds[index, :tokens].tolist()) <= {FOREGROUND, BACKGROUND, NO_POINT}
            assert asked.prompts.kinds[index, tokens:].tolist() == [NO_POINT] * (12 - tokens)


def test_a_third_of_boxes_and_regions_have_tokens_only() -> None:
    thousand = torch.ones(1000, dtype=torch.bool)
    prompts = Prompts(torch.ones(1000, 2, 256), torch.full((1000, 2), FIRST_CORNER), torch.ones(1000, 1, 4, 4),
                      thousand)
    some = queries._some_unmasked(prompts, generator())
    assert 600 < int(some.masked.sum()) < 730
    assert some.content is prompts.content and some.kinds is prompts.kinds and some.masks is prompts.masks
    none = prompts.unmasked(thousand)
    assert not queries._some_unmasked(none, generator()).masked.any()


def test_in_the_first_lesson_the_mask_prompt_is_the_answer(mini_sam: Sam, small_batch: Batch, monkeypatch) -> None:
    monkeypatch.setattr(queries, "UNMASKED_SHARE", 0.0)
    set_input_size(mini_sam, 64)
    asked = queries_by_place(numbered(small_batch), mini_sam.prompt_encoder, generator())
    lesson = asked.first_lesson()
    assert torch.equal(lesson.target[:8], asked.target[:8])  # points have no mask prompt
    assert torch.equal(lesson.target[8:], (asked.prompts.masks[8:, 0] == SURE).float())
    assert torch.equal(lesson.embeddings, asked.embeddings)
