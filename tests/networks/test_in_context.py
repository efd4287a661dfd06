"""Region tokens of hand-made embeddings."""

from __future__ import annotations

import pytest
import torch
from segment_anything.modeling import PromptEncoder

from samunet.networks.in_context import SMALLEST_COVERAGE, no_mask, region_tokens
from samunet.networks.sam import build_prompt_encoder


@pytest.fixture(scope="module")
def prompts() -> PromptEncoder:
    """Foreground points are typed by 100 in every channel, background by 200, no point by 300; no mask is 0, 1, ..."""
    encoder = build_prompt_encoder(32).requires_grad_(False)
    encoder.point_embeddings[1].weight.fill_(100.0)
    encoder.point_embeddings[0].weight.fill_(200.0)
    encoder.not_a_point_embed.weight.fill_(300.0)
    encoder.no_mask_embed.weight.copy_(torch.arange(256.0)[None])
    return encoder


@pytest.fixture
def embeddings() -> torch.Tensor:
    """One picture of 2 x 2 cells that hold 1, 2, 3, 4 in channel 0, ten times that in channel 1, nothing elsewhere."""
    cells = torch.zeros(1, 256, 2, 2)
    cells[0, 0] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    cells[0, 1] = 10 * cells[0, 0]
    return cells


def test_tokens_are_means_over_the_region_and_the_rest_and_their_types(prompts, embeddings) -> None:
    coverage = torch.tensor([[[1.0, 0.5], [0.0, 0.5]]])
    # Region (1 + 2 / 2 + 4 / 2) / 2 = 2; rest (2 / 2 + 3 + 4 / 2) / 2 = 3.
    tokens = region_tokens(embeddings, coverage, prompts)
    assert tokens.shape == (1, 2, 256)
    torch.testing.assert_close(tokens[0, :, :3], torch.tensor([[102.0, 120.0, 100.0], [203.0, 230.0, 200.0]]))


def test_a_region_too_small_is_no_point_and_so_is_a_rest_too_small(prompts, embeddings) -> None:
    coverage = torch.zeros(4, 2, 2)
    coverage[1, 0, 0] = SMALLEST_COVERAGE - 0.01
    coverage[2, 0, 0] = SMALLEST_COVERAGE
    coverage[3] = 1.0
    tokens = region_tokens(embeddings.expand(4, -1, -1, -1), coverage, prompts)[..., 0]
    assert tokens[:, 0].tolist() == pytest.approx([300, 300, 101, 102.5])
    # The rest: all four; less than all; 2 + 3 + 4 and three quarters of 1; nothing.
    assert tokens[[0, 3], 1].tolist() == pytest.approx([202.5, 300])
    assert float(tokens[2, 1]) == pytest.approx(200 + 9.75 / 3.75)


def test_pictures_are_pooled_apart(prompts, embeddings) -> None:
    coverage = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
    tokens = region_tokens(torch.cat([embeddings, 2 * embeddings]), coverage, prompts)
    assert tokens[:, 0, 0].tolist() == [101.0, 108.0]
    assert tokens[:, 1, 0].tolist() == [203.0, 204.0]


def test_no_mask_is_sams_embedding_everywhere(prompts) -> None:
    dense = no_mask(prompts, 3)
    assert dense.shape == (1, 256, 3, 3)
    assert dense[0, :, 2, 1].tolist() == list(range(256))
    _, theirs = prompts(points=None, boxes=None, masks=None)
    assert torch.equal(no_mask(prompts, 2), theirs)
