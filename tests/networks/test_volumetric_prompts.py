"""Maps of prompts and features at places, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from samunet.networks.volumetric_prompts import PromptTensors, features_at, prompt_maps

NONE = torch.zeros(1, 0, 2, 3)


def prompts(points: list[list[float]], polarity: list[int], boxes: torch.Tensor = NONE) -> PromptTensors:
    return PromptTensors(torch.zeros(1, dtype=torch.int64), torch.tensor([points]).view(1, -1, 3),
                         torch.tensor([polarity], dtype=torch.int64).view(1, -1), boxes, torch.zeros(1, 2, 3, 8))


def test_clicks_are_gaussians_of_half_a_token_on_their_polarity_s_map() -> None:
    maps = prompt_maps(prompts([[0.5, 1.5, 2.5], [1.5, 0.5, 7.5], [0.5, 0.5, 0.5]], [1, 0, -1]), (2, 2, 4))[0]
    assert maps.shape == (4, 2, 3, 8)
    assert maps[1, 0, 1, 2] == 1 and maps[2, 1, 0, 7] == 1 and not maps[0].any() and not maps[3].any()
    # Standard deviations are 1, 1 and 2 voxels.
    assert float(maps[1, 1, 1, 2]) == pytest.approx(math.exp(-1 / 2))
    assert float(maps[1, 0, 1, 4]) == pytest.approx(math.exp(-1 / 2))
    assert float(maps[1, 1, 0, 0]) == pytest.approx(math.exp(-3 / 2))
    twice = prompt_maps(prompts([[0.5, 1.5, 2.5], [0.5, 1.5, 2.5]], [1, 1]), (2, 2, 4))[0, 1]
    torch.testing.assert_close(twice, (2 * maps[1]).clamp_max(1))


def test_a_box_covers_parts_of_voxels() -> None:
    box = torch.tensor([[[[0.0, 1.0, 2.5], [1.0, 3.0, 5.25]], [[math.nan] * 3] * 2]])
    inside = prompt_maps(prompts([], [], box), (4, 4, 4))[0, 3]
    row = [0, 0, 0.5, 1, 1, 0.25, 0, 0]
    assert inside[0].tolist() == [[0] * 8, row, row] and not inside[1].any()


def test_a_box_and_a_click_outside_the_patch() -> None:
    box = torch.tensor([[[[-5.0, -5.0, -5.0], [9.0, 9.0, 0.5]]]])
    maps = prompt_maps(prompts([[0.5, 0.5, -100.0]], [1], box), (4, 4, 4))[0]
    assert maps[3, :, :, 0].eq(0.5).all() and not maps[3, :, :, 1:].any() and not maps[1].any()


def test_features_at_middles_of_tokens_between_them_and_outside() -> None:
    level = torch.arange(12.0).view(1, 1, 1, 3, 4)  # tokens of 2 x 2 x 4 voxels
    places = torch.tensor([[[1.0, 1.0, 2.0], [1.0, 3.0, 6.0], [1.0, 2.0, 4.0], [-9.0, 99.0, 99.0]]])
    found = features_at(level, places, (2, 6, 16))
    assert found[0, :, 0].tolist() == pytest.approx([0, 5, (0 + 1 + 4 + 5) / 4, 11], abs=1e-5)


def test_one_level_serves_several_queries() -> None:
    level, places, patch = torch.randn(1, 5, 2, 3, 4), torch.rand(3, 2, 3) * 8, (8, 8, 8)
    copied = features_at(level.expand(3, -1, -1, -1, -1), places, patch)
    torch.testing.assert_close(features_at(level, places, patch), copied)
    assert features_at(level, places[:, :0], patch).shape == (3, 0, 5)
