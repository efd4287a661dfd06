from __future__ import annotations

import torch

from samunet.inputs.batches import TileBatches
from samunet.inputs.sampling import Pick


class Picked:
    """A sampler of two fixed picks."""

    seed = 3

    def picks(self, iteration: int) -> list[Pick]:
        return [Pick(2, 2, 0), Pick(0, 0, 0)]


def test_a_batch_holds_the_picked_embeddings_and_labels(made) -> None:
    embeddings = made.made_embeddings()
    batch = TileBatches(made.NAMES, embeddings, made.made_labels(), Picked()).read(7)
    assert batch.iteration == 7 and batch.names == ["three", "one"]
    assert torch.equal(batch.inputs[0], embeddings[2].read([(2, 0)])[0])
    assert batch.inputs.dtype == torch.float32 and batch.segmentation.dtype == torch.int64
    targets = batch.segmentation
    assert targets[0, 12, 12] == 2 and targets[0, 4, 6] == 1 and targets[0, 4, 5] == 0 and not targets[1].any()
