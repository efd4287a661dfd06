from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from samunet.networks.sam import build_mask_decoder, build_prompt_encoder


@pytest.fixture
def promptable(script) -> ModuleType:
    return script("promptable")


@pytest.fixture
def prompted(promptable) -> Any:
    """On tiles of 6 x 8 voxels, each 32 pixels of a 256-pixel input."""
    torch.manual_seed(0)
    state = {f"{prefix}.{name}": tensor for prefix, module in
             (("prompt_encoder", build_prompt_encoder(256)), ("mask_decoder", build_mask_decoder()))
             for name, tensor in module.state_dict().items()}
    return promptable.Prompted(SimpleNamespace(section=SimpleNamespace(tile_shape=(6, 8), input_size=256),
                                               encoder=SimpleNamespace(sam_state=state)))


def region() -> np.ndarray:
    """Rows 1 to 3, columns 2 to 6 of 6 x 8 voxels."""
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:7] = True
    return mask


def test_the_ellipse_fills_the_box_but_for_its_corners(promptable) -> None:
    expected = np.zeros((6, 8), bool)
    expected[2, 2:7] = True
    expected[[1, 3], 3:6] = True
    assert promptable.extent(region()) == [(1, 4), (2, 7)]
    np.testing.assert_array_equal(promptable.ellipse(region()), expected)
    assert promptable.iou(expected, region()) == pytest.approx(11 / 15)
    one = np.zeros((3, 3), bool)
    one[1, 2] = True
    np.testing.assert_array_equal(promptable.ellipse(one), one)


def test_box_and_point_are_where_the_voxels_are_in_the_encoders_image(prompted) -> None:
    # Box (x0, y0, x1, y1): columns 2 to 7, rows 1 to 4, 32 pixels each.
    box = prompted.prompts._embed_boxes(torch.tensor([[64.0, 32.0, 224.0, 128.0]]))
    found = prompted.box(region()[None])
    torch.testing.assert_close(found.encode(prompted.prompts)[0], box)
    # Mask prompts have 64 pixels for 8 voxels: the ellipse touches columns 16 to 55 and rows 8 to 31.
    rows, columns = (found.masks[0, 0] > 0).nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 31, 16, 55)
    # The middle row's third voxel is as far from the edge as its neighbours, and comes first: row 2.5, column 3.5.
    point = prompted.prompts._embed_points(torch.tensor([[[3.5 * 32 - 0.5, 2.5 * 32 - 0.5]]]), torch.ones(1, 1),
                                           pad=True)
    torch.testing.assert_close(prompted.point(region()[None]).encode(prompted.prompts)[0], point)


def test_cells_are_covered_as_far_as_the_voxels_reach(prompted) -> None:
    # All 6 x 8 voxels: 12 of 16 rows of cells. The edge is drawn linearly over one voxel, which is two cells.
    coverage = prompted.coverage(np.ones((1, 1, 6, 8), bool))
    assert coverage.shape == (1, 1, 16, 16)
    expected = torch.tensor([1.0] * 11 + [0.75, 0.25] + [0.0] * 3)
    torch.testing.assert_close(coverage[0, 0], expected[:, None].expand(-1, 16))


@torch.no_grad()
def test_logits_lie_on_the_tiles_voxels(prompted) -> None:
    embeddings, prompt = torch.randn(2, 256, 16, 16), prompted.box(np.stack([region()] * 2))
    logits = prompted.logits(embeddings, prompt)
    sparse, dense = prompt.encode(prompted.prompts)
    masks, _ = prompted.decoder.predict_masks(image_embeddings=embeddings[:1], image_pe=prompted.prompts.get_dense_pe(),
                                              sparse_prompt_embeddings=sparse[:1], dense_prompt_embeddings=dense[:1])
    # 64 decoder pixels on 8 voxels: voxel centres lie between pixels 8 i + 3 and 8 i + 4.
    between = avg_pool2d(masks[0, :1, 3:-3, 3:-3], 2, stride=8)[0, :6]
    torch.testing.assert_close(logits[0], between, atol=1e-4, rtol=1e-4)


def test_the_strongest_class_wins_and_nothing_wins_below_zero(promptable) -> None:
    logits = torch.full((1, 2, 2, 2), -1.0)
    logits[0, 0, 0] = 1.0
    logits[0, 1, 0, 0] = 2.0
    masks = np.zeros((1, 2, 2, 2), bool)
    masks[0, 1, 0, 0] = masks[0, 0, 0, 1] = masks[0, 0, 1, 1] = True
    # Class 1 is right: 1. Class 0 has one of two voxels: 2 * 1 / (1 + 2).
    assert promptable.mean_dice(logits, masks) == pytest.approx((1 + 2 / 3) / 2)


def test_pairs_are_made_by_slice_and_by_case(promptable) -> None:
    figures = promptable.CaseFigures
    draws = [{"a": figures([0.5, 0.75], [0.25, 0.5], 0.75, 0.625, 0.5), "b": figures([1.0], [0.75], 0.5, 0.375, 0.25)}]
    box, guess, point = promptable.compared(draws, {"a": "p", "b": "q"})
    assert (box["means"], box["mean"], box["low"], box["high"]) == ([0.75, 0.5], 0.25, 0.25, 0.25)
    assert (guess["means"], guess["mean"], guess["low"], guess["high"]) == ([0.625, 0.5], 0.125, 0.125, 0.125)
    assert (point["means"], point["mean"], point["low"], point["high"]) == ([0.625, 0.375], 0.25, 0.25, 0.25)
