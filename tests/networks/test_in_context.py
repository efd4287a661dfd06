"""The guess, and prompts by regions, of hand-made embeddings."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d

from samunet.networks.in_context import region_guess, region_prompts
from samunet.networks.prompts import SURE
from samunet.networks.region_tokens import region_tokens


@pytest.fixture
def striped() -> tuple[torch.Tensor, torch.Tensor]:
    """Two supports of 8 x 8 cells, whose columns 0 and 1 are region 0, 2 to 7 region 1, and nothing is region 2; each
    region has
    a channel of its own."""
    coverage = torch.zeros(2, 3, 8, 8)
    coverage[:, 0, :, :2] = coverage[:, 1, :, 2:] = 1.0
    embeddings = torch.randn(2, 256, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.01
    embeddings[:, :3] += coverage
    return embeddings, coverage


def test_the_guess_is_the_region_where_cells_look_like_it(striped) -> None:
    support, coverage = striped
    image = support[:1].transpose(2, 3)  # rows instead of columns
    guess = region_guess(support, coverage, image)
    assert guess.shape == (1, 3, 8, 8)
    # The edge lies half-way between the regions, their means SURE from it.
    torch.testing.assert_close(guess[0, :2], (2 * coverage[0, :2].transpose(1, 2) - 1) * SURE, atol=1.5, rtol=0)
    assert torch.equal(guess[0, 2], torch.full((8, 8), -SURE))  # a region that no support shows


def test_as_much_of_the_support_is_guessed_as_the_region_covers() -> None:
    """Embeddings that say nothing: the guess is anywhere, but not of another size."""
    torch.manual_seed(0)
    support, coverage = torch.randn(3, 256, 16, 16), torch.zeros(3, 1, 16, 16)
    coverage[:, :, 4:8, 4:10] = 1.0
    assert int((region_guess(support, coverage, support) > 0).sum()) == 3 * 24


def _linear(cells: torch.Tensor) -> torch.Tensor:
    """What bilinear interpolation by 4 has around the middles of cells (N, g, g): 1/8 of a cell away on either side."""
    for axis in (1, 2):
        ends = [cells.narrow(axis, 0, 1), cells.narrow(axis, cells.shape[axis] - 1, 1)]
        wide = torch.cat([ends[0], cells, ends[1]], axis)
        count = cells.shape[axis]
        cells = (wide.narrow(axis, 0, count) + 14 * cells + wide.narrow(axis, 2, count)) / 16
    return cells


def test_a_prompt_for_each_region_and_image(striped) -> None:
    support, coverage = striped
    images = torch.randn(3, 256, 8, 8)
    prompts = region_prompts(support, coverage, images)
    guess = region_guess(support, coverage, images)
    assert [len(each) for each in prompts] == [3, 3, 3]
    for region, each in enumerate(prompts):
        content, kinds = region_tokens(support, coverage[:, region])
        assert torch.equal(each.content, content.flatten(0, 1).expand(3, -1, -1)) and each.masked.all()
        assert each.kinds.tolist() == [kinds.flatten().tolist()] * 3
        # A cell's middle lies between four of the decoder's pixels.
        between = avg_pool2d(each.masks[:, :, 1:-1, 1:-1], 2, stride=4)[:, 0]
        torch.testing.assert_close(between, _linear(guess[:, region]))
