"""A buffer of queries from the last batches, for the phases that train only the decoder."""

from __future__ import annotations

from collections import deque

import torch

from samunet.pretraining.queries import Queries

BATCHES = 40  # stored; the queries of a single batch are too similar to train on
SAMPLED = 16  # of each kind, for one update


class QueryBuffer:
    """The queries of the last BATCHES batches, one kind for each loss."""

    def __init__(self) -> None:
        self.stored: dict[str, deque[Queries]] = {}

    def add(self, name: str, queries: Queries) -> None:
        """Store the queries of one batch; drops all queries of images of another size."""
        stored = self.stored.setdefault(name, deque(maxlen=BATCHES))
        if stored and stored[-1].target.shape[1:] != queries.target.shape[1:]:
            stored.clear()
        stored.append(queries)

    def sample(self, name: str, generator: torch.Generator) -> Queries:
        """SAMPLED of the stored queries, all batches with equal probability."""
        stored = self.stored[name]
        batches = torch.randint(len(stored), (SAMPLED,), generator=generator, device=generator.device).tolist()
        share = torch.rand(SAMPLED, generator=generator, device=generator.device).tolist()
        places = [int(part * len(stored[batch])) for batch, part in zip(batches, share, strict=True)]
        return Queries.joined([stored[batch][place : place + 1] for batch, place in zip(batches, places, strict=True)])
