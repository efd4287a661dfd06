"""Region tokens by each rule, of hand-made embeddings."""

from __future__ import annotations

import pytest
import torch

from samunet.networks.prompts import BACKGROUND, FOREGROUND, NO_POINT
from samunet.networks.region_tokens import (
    CLUSTERS,
    FARTHEST,
    SMALLEST_COVERAGE,
    TOKENS,
    cluster_means,
    farthest_cells,
    region_tokens,
)


@pytest.fixture
def embeddings() -> torch.Tensor:
    """One image of 2 x 2 cells that hold 1, 2, 3, 4 in channel 0, ten times that in channel 1, nothing elsewhere."""
    cells = torch.zeros(1, 256, 2, 2)
    cells[0, 0] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    cells[0, 1] = 10 * cells[0, 0]
    return cells


def test_tokens_are_means_over_the_region_and_the_rest(embeddings) -> None:
    coverage = torch.tensor([[[1.0, 0.5], [0.0, 0.5]]])
    # Region (1 + 2 / 2 + 4 / 2) / 2 = 2; rest (2 / 2 + 3 + 4 / 2) / 2 = 3.
    content, kinds = region_tokens(embeddings, coverage)
    assert content.shape == (1, 2, 256) and kinds.tolist() == [[FOREGROUND, BACKGROUND]]
    torch.testing.assert_close(content[0, :, :3], torch.tensor([[2.0, 20.0, 0.0], [3.0, 30.0, 0.0]]))


def test_a_region_too_small_is_no_point_and_so_is_a_rest_too_small(embeddings) -> None:
    coverage = torch.zeros(4, 2, 2)
    coverage[1, 0, 0] = SMALLEST_COVERAGE - 0.01
    coverage[2, 0, 0] = SMALLEST_COVERAGE
    coverage[3] = 1.0
    content, kinds = region_tokens(embeddings.expand(4, -1, -1, -1), coverage)
    assert kinds.tolist() == [[NO_POINT, BACKGROUND]] * 2 + [[FOREGROUND, BACKGROUND], [FOREGROUND, NO_POINT]]
    assert content[:, 0, 0].tolist() == pytest.approx([0, 0, 1, 2.5])
    # The rest: all four; less than all; 2 + 3 + 4 and three quarters of 1; nothing.
    assert content[[0, 3], 1, 0].tolist() == pytest.approx([2.5, 0])
    assert float(content[2, 1, 0]) == pytest.approx(9.75 / 3.75)


def test_images_are_pooled_apart(embeddings) -> None:
    coverage = torch.tensor([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
    content, _ = region_tokens(torch.cat([embeddings, 2 * embeddings]), coverage)
    assert content[:, 0, 0].tolist() == [1.0, 8.0]
    assert content[:, 1, 0].tolist() == [3.0, 4.0]


def test_farthest_cells_begin_at_the_middle() -> None:
    cells = torch.tensor([[0.0], [3.0], [5.0], [9.0], [20.0]])  # their mean is 7.4
    # 9 is nearest to the mean; then 20 (11 away), 0 (9 away), and 5 is 4 away from 9 while 3 is 3 away from 0.
    assert farthest_cells(cells, torch.ones(5)).flatten().tolist() == [9.0, 20.0, 0.0, 5.0]
    # With weights the mean lies at 0.36.
    assert farthest_cells(cells, torch.tensor([100.0, 1, 1, 1, 1])).flatten().tolist() == [0.0, 20.0, 9.0, 5.0]


def test_equal_cells_are_chosen_once() -> None:
    assert farthest_cells(torch.tensor([[1.0], [3.0], [1.0], [3.0], [3.0]]), torch.ones(5)).flatten().tolist() == [3.0,
                                                                                                                   1.0]


def test_clusters_are_the_weighted_means_of_groups() -> None:
    cells = torch.tensor([0.0, 1.0, 100.0, 104.0, -50.0, -50.0, -47.0, 400.0])[:, None].repeat(1, 2)
    weights = torch.tensor([1.0, 1.0, 1.0, 3.0, 0.5, 0.5, 1.0, 1.0])
    means = cluster_means(cells, weights)
    assert torch.equal(means[:, 0], means[:, 1])
    # (0 + 1) / 2; (100 + 3 x 104) / 4; (-50 - 47) / 2, the first two being half a cell each; 400.
    assert sorted(means[:, 0].tolist()) == pytest.approx([-48.5, 0.5, 103.0, 400.0])


def test_two_separated_groups_of_equal_cells_are_two_clusters() -> None:
    cells = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 7.0], [2.0, 0.0]])
    assert sorted(cluster_means(cells, torch.ones(4)).tolist()) == [[0.0, 7.0], [2.0, 0.0]]


@pytest.mark.parametrize("rule", [CLUSTERS, FARTHEST])
def test_tokens_of_cells_that_the_region_covers_best(embeddings, rule: str) -> None:
    coverage = torch.tensor([[[0.4, 0.2], [0.1, 0.0]]])
    content, kinds = region_tokens(embeddings, coverage, rule)
    # Cells 1 and 2 are covered at least half of 0.4; all four are outside at least by half of 1.
    assert kinds.tolist() == [[FOREGROUND] * 2 + [NO_POINT] * 2 + [BACKGROUND] * 4]
    assert sorted(content[0, :2, 0].tolist()) == [1.0, 2.0] and not content[0, 2:4].any()
    assert sorted(content[0, TOKENS:, 0].tolist()) == pytest.approx([1.0, 2.0, 3.0, 4.0])
    torch.testing.assert_close(content[..., 1], 10 * content[..., 0])


@pytest.mark.parametrize("rule", [CLUSTERS, FARTHEST])
def test_what_is_too_small_has_no_token_by_any_rule(embeddings, rule: str) -> None:
    coverage = torch.zeros(2, 2, 2)
    coverage[0, 0, 0] = SMALLEST_COVERAGE - 0.01
    coverage[1] = 1.0
    content, kinds = region_tokens(embeddings.expand(2, -1, -1, -1), coverage, rule)
    assert kinds.tolist() == [[NO_POINT] * 4 + [BACKGROUND] * 4, [FOREGROUND] * 4 + [NO_POINT] * 4]
    assert not content[0, :4].any() and not content[1, 4:].any()
