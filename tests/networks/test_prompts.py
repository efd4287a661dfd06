"""Prompts compared with segment-anything's prompt encoder with the same weights, and shapes computed by hand."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import PromptEncoder

from samunet.networks.prompts import (
    BACKGROUND,
    FOREGROUND,
    NO_POINT,
    SURE,
    Prompts,
    box_prompts,
    inscribed_ellipses,
    point_prompts,
    with_click,
)
from samunet.networks.sam import build_prompt_encoder


@pytest.fixture(scope="module")
def encoder() -> PromptEncoder:
    torch.manual_seed(0)
    return build_prompt_encoder(64).requires_grad_(False)


POINTS = torch.tensor([[3.0, 60.0], [20.0, 7.5]])
BOXES = torch.tensor([[4.0, 8.0, 28.0, 24.0], [0.0, 16.0, 64.0, 20.0]])


def test_points_are_encoded_as_segment_anything_does(encoder) -> None:
    for points in (POINTS[:, None], POINTS[None]):  # one point each, two points of one prompt
        sparse, dense = point_prompts(points, encoder).encode(encoder)
        theirs, their_dense = encoder(points=(points, torch.ones(points.shape[:2])), boxes=None, masks=None)
        torch.testing.assert_close(sparse, theirs)
        assert torch.equal(dense, their_dense)


def test_boxes_are_encoded_as_segment_anything_does_with_their_ellipse_as_its_mask_prompt(encoder) -> None:
    ellipses = inscribed_ellipses(BOXES, 16, 4)[:, None]
    sparse, dense = box_prompts(BOXES, encoder).encode(encoder)
    theirs, their_dense = encoder(points=None, boxes=BOXES, masks=(ellipses.float() * 2 - 1) * SURE)
    torch.testing.assert_close(sparse, theirs)
    torch.testing.assert_close(dense, their_dense)


def test_a_click_is_one_more_point_and_the_mask_before_it_is_the_mask_prompt(encoder) -> None:
    click, kind, masks = torch.tensor([[9.0, 9.0], [1.0, 2.0]]), torch.tensor([FOREGROUND,
                                                                               BACKGROUND]), torch.randn(2, 1, 16, 16)
    before = box_prompts(BOXES, encoder)
    sparse, dense = with_click(before, click, kind, masks, encoder).encode(encoder)
    own = encoder._embed_points(click[:, None], kind[:, None], pad=False)
    torch.testing.assert_close(sparse, torch.cat([encoder._embed_boxes(BOXES), own], 1))
    torch.testing.assert_close(dense, encoder.mask_downscaling(masks))


def test_joined_prompts_are_filled_up_with_no_points_and_keep_their_masks(encoder) -> None:
    corrected = with_click(box_prompts(BOXES, encoder), POINTS, torch.tensor([1, 0]), torch.randn(2, 1, 16, 16),
                           encoder)
    points = point_prompts(POINTS[:, None], encoder)
    joined = Prompts.joined([points, corrected])
    assert joined.kinds.tolist() == [[1, -1, -1], [1, -1, -1], [2, 3, 1], [2, 3, 0]]
    assert joined.masked.tolist() == [False, False, True, True]
    sparse, dense = joined.encode(encoder)
    for part, alone in ((slice(0, 2), points), (slice(2, 4), corrected)):
        expected, expected_dense = alone.encode(encoder)
        torch.testing.assert_close(sparse[part, : expected.shape[1]], expected)
        torch.testing.assert_close(dense[part], expected_dense)
    assert torch.equal(sparse[:2, 2], encoder.not_a_point_embed.weight[0].expand(2, -1))
    again = joined[torch.tensor([3, 0])]
    assert len(again) == 2 and torch.equal(again.encode(encoder)[0], sparse[[3, 0]])


def test_filling_up_adds_nothing_but_no_points(encoder) -> None:
    filled = point_prompts(POINTS[:, None], encoder).filled(4)
    assert filled.kinds.tolist() == [[FOREGROUND] + 3 * [NO_POINT]] * 2
    assert not filled.content[:, 1:].any()


def test_the_ellipse_touches_the_sides_of_its_box() -> None:
    # 8 x 8 decoder pixels of 4 input pixels: columns 1 to 6, rows 2 to 5.
    found = inscribed_ellipses(torch.tensor([[4.0, 8.0, 28.0, 24.0], [4.0, 8.0, 4.0, 8.0]]), 8, 4)
    wanted = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 0]] * 2 + [[0, 0, 1, 1, 1, 1, 0, 0]] + [[0, 1, 1, 1, 1, 1, 1, 0]] * 2
                          + [[0, 0, 1, 1, 1, 1, 0, 0]] + [[0, 0, 0, 0, 0, 0, 0, 0]] * 2)
    assert torch.equal(found[0], wanted.bool())
    assert not found[1].any()  # a box without area
