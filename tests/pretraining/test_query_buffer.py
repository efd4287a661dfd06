"""A buffer of numbered queries."""

from __future__ import annotations

import torch

from samunet.networks.prompts import Prompts
from samunet.pretraining.queries import Queries
from samunet.pretraining.query_buffer import BATCHES, SAMPLED, QueryBuffer


def numbered(first: int, count: int, side: int = 8) -> Queries:
    """`count` queries whose embeddings, targets and tokens hold first, first + 1, ..."""
    numbers = torch.arange(first, first + count).float()
    maps = numbers[:, None, None].expand(-1, side, side)
    prompts = Prompts(numbers[:, None, None].expand(-1, 2, 256), torch.zeros(count, 2, dtype=torch.long), maps[:, None],
                      torch.ones(count, dtype=torch.bool))
    return Queries(numbers[:, None, None, None].expand(-1, 256, 2, 2), prompts, maps, torch.ones_like(maps))


def test_queries_are_sampled_whole_from_all_stored_batches() -> None:
    buffer, generator = QueryBuffer(), torch.Generator().manual_seed(0)
    for batch in range(BATCHES + 2):
        buffer.add("promptable", numbered(2 * batch, 2))
    found = set()
    for _ in range(60):
        sampled = buffer.sample("promptable", generator)
        assert len(sampled) == SAMPLED
        numbers = sampled.target[:, 0, 0]
        assert torch.equal(sampled.embeddings[:, 0, 0, 0], numbers) and torch.equal(sampled.prompts.content[:, 0, 0],
                                                                                    numbers)
        found |= set(numbers.int().tolist())
    assert found == set(range(4, 2 * BATCHES + 4))  # the first two batches have made room


def test_images_of_another_size_take_the_place_of_all() -> None:
    buffer, generator = QueryBuffer(), torch.Generator().manual_seed(0)
    buffer.add("in_context", numbered(0, 3))
    buffer.add("promptable", numbered(3, 3))
    buffer.add("in_context", numbered(6, 3, side=16))
    assert set(buffer.sample("in_context", generator).target[:, 0, 0].tolist()) <= {6, 7, 8}
    assert set(buffer.sample("promptable", generator).target[:, 0, 0].tolist()) <= {3, 4, 5}
