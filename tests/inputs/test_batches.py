from __future__ import annotations

import torch

from samunet.inputs.batches import Batches
from samunet.inputs.sampling import Pick
from samunet.inputs.tiles import TileSamples


class Picked:
    """A sampler of two fixed picks."""

    seed = 3

    def picks(self, iteration: int) -> list[Pick]:
        return [Pick(2, 2, 0), Pick(0, 0, 0)]


def test_a_batch_holds_the_picked_embeddings_and_labels(made) -> None:
    embeddings = made.made_embeddings()
    batch = Batches(made.NAMES, Picked(), TileSamples(embeddings, made.made_labels())).read(7)
    assert batch.iteration == 7 and batch.names == ["three", "one"]
    assert torch.equal(batch.inputs[0], embeddings[2].read([(2, 0)])[0])
    assert batch.inputs.dtype == torch.float32 and batch.segmentation.dtype == torch.int64
    targets = batch.segmentation
    assert targets[0, 12, 12] == 2 and targets[0, 4, 6] == 1 and targets[0, 4, 5] == 0 and not targets[1].any()


def test_samples_get_the_picks_and_their_keys(made) -> None:
    class Seen:
        def read(self, picks, keys):
            self.picks, self.keys = picks, keys
            return torch.zeros(2), torch.zeros(2)

    samples = Seen()
    batches = Batches(made.NAMES, Picked(), samples)
    assert batches.seed == 3 and batches.read(7).names == ["three", "one"]
    assert samples.picks == [Pick(2, 2, 0), Pick(0, 0, 0)] and samples.keys == [[3, 7, 0], [3, 7, 1]]
