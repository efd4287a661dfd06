"""A box's answer: nothing outside the box, and the ellipse where the answer is much like it."""

from __future__ import annotations

import torch

from samunet.networks.box_answer import BIAS, ELLIPSE_LOGIT, LIKE_ELLIPSE, NEVER, answer_in_box
from samunet.networks.prompts import inscribed_ellipses

# 16 x 16 pixels of 4 input pixels each. The box covers columns 4 to 11 and rows 2 to 13.
BOX = torch.tensor([[16.0, 8.0, 48.0, 56.0]])
INSIDE = torch.zeros(16, 16, dtype=torch.bool)
INSIDE[2:14, 4:12] = True
ELLIPSE = inscribed_ellipses(BOX, 16, 4)[0]


def test_an_answer_unlike_the_ellipse_is_cut_at_the_box_and_otherwise_kept() -> None:
    logits = torch.full((1, 16, 16), -2.0)
    logits[0, :, 5] = 3.0  # a line across the image
    found = answer_in_box(logits, BOX, 4)[0]
    assert torch.equal(found[~INSIDE], torch.full_like(found[~INSIDE], NEVER))
    assert torch.equal(found[INSIDE], logits[0][INSIDE] + BIAS)


def test_an_answer_like_the_ellipse_is_drawn_to_it() -> None:
    logits = torch.where(ELLIPSE, 1.0, -1.0)[None]
    found = answer_in_box(logits, BOX, 4)[0]
    # Columns have their middles at 18, 22, ..., the box's middle is (32, 32) and its half sides 16 and 24: pixel (row
    # 7, column 7), whose middle is (30, 30), lies at sqrt((2 / 16)^2 + (2 / 24)^2) of the way to the ellipse.
    radius = ((2 / 16) ** 2 + (2 / 24) ** 2) ** 0.5
    scale = -NEVER / (-NEVER + ELLIPSE_LOGIT)
    torch.testing.assert_close(found[7, 7], torch.tensor((1.0 + ELLIPSE_LOGIT * (1 - radius) + BIAS) * scale))
    # The box's first corner pixel, whose middle is (18, 10), lies outside the ellipse.
    radius = ((14 / 16) ** 2 + (22 / 24) ** 2) ** 0.5
    torch.testing.assert_close(found[2, 4], torch.tensor((-1.0 + ELLIPSE_LOGIT * (1 - radius) + BIAS) * scale))
    torch.testing.assert_close(found[~INSIDE], torch.full_like(found[~INSIDE], NEVER * scale))


def test_alike_is_the_iou_inside_the_box() -> None:
    held = ELLIPSE.nonzero()
    for kept, alike in ((int(LIKE_ELLIPSE * len(held)) - 1, False), (int(LIKE_ELLIPSE * len(held)) + 1, True)):
        logits = torch.full((1, 16, 16), -1.0)
        rows, columns = held[:kept].T
        logits[0, rows, columns] = 1.0
        logits[0, 0] = 1.0  # outside the box, where nothing counts
        found = answer_in_box(logits, BOX, 4)[0]
        assert (found[7, 7] > 4) == alike


def test_boxes_are_answered_alone_and_the_decoder_is_never_surer_than_its_limit() -> None:
    logits = torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(0)) * 100
    boxes = torch.cat([BOX, torch.tensor([[0.0, 0.0, 64.0, 64.0]])])
    both = answer_in_box(logits, boxes, 4)
    for index in range(2):
        assert torch.equal(both[index], answer_in_box(logits[index : index + 1], boxes[index : index + 1], 4)[0])
    # Classes compete by their logits: no ellipse makes an answer surer than the decoder may be by itself.
    sure = answer_in_box(torch.where(ELLIPSE, 100.0, -100.0)[None], BOX, 4)
    assert float(both.max()) <= -NEVER + BIAS and float(sure.max()) <= -NEVER + BIAS


def test_a_grid_may_have_fewer_columns_than_rows() -> None:
    logits = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0))
    # the box ends there
    assert torch.equal(answer_in_box(logits[:, :, :12], BOX, 4), answer_in_box(logits, BOX, 4)[:, :, :12])
