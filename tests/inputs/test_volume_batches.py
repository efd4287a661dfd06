"""Volumes of a case whose voxels hold their own coordinates, without augmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from samunet.dataset.labels import LabelSpace
from samunet.inputs.protocols import Pick
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.inputs.volume_batches import VolumeBatches, first_slice
from samunet.inputs.volumes import CaseVolumes
from samunet.planning.tiles import TileFrame
from samunet.planning.volume_rules import VolumePlan

LABELS = LabelSpace({"background": 0, "a": 1})


class Embeddings:
    """The number of the slice."""

    def __init__(self, depth: int) -> None:
        self.frame, self.depth = TileFrame((4, 6), (4, 6), 1.0), depth

    def read(self, picks: Sequence[Pick]) -> torch.Tensor:
        return torch.tensor([float(plane) for plane, _ in picks]).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def batches(depth: int) -> VolumeBatches:
    z, y, x = np.indices((depth, 4, 6))
    image = (100 * z + 10 * y + x + 1)[None].astype(np.float32)
    segmentation = np.zeros((depth, 4, 6), np.int16)
    segmentation[depth - 1, 1, 2] = 1
    plan = VolumePlan((3, 4, 6), (3, 4, 8), ((1, 1, 1),), ((3, 3, 3),), (1, 4, 4), (3, 1, 2))
    source = Embeddings(depth)
    labels = [LabelSlices.build(segmentation, source.frame, LABELS)]
    return VolumeBatches(["case"], [CaseVolumes(lambda: image, source, plan)], labels, Sampler(labels, LABELS, 2, 0), plan,
                        lambda stack, labels, random, key: (stack, labels.long()))


def test_image_labels_and_embeddings_are_of_the_same_slices() -> None:
    made = batches(8)
    for iteration in range(20):
        batch = made.read(iteration)
        assert batch.names == ["case", "case"] and batch.segmentation.shape == (2, 3, 4, 6)
        first = (batch.inputs.image[:, 0, 0, 0, 0] - 1) / 100
        np.testing.assert_array_equal(batch.inputs.embeddings[:, 0, :, 0, 0], first[:, None] + torch.arange(3))
        # The second sample is drawn from the foreground, which is in the last slice alone.
        assert first[1] == 5 and batch.segmentation[1, 2, 1, 2] == 1 and int((batch.segmentation[1] == 1).sum()) == 1


def test_a_short_case_lies_in_the_middle_and_nothing_is_around_it() -> None:
    batch = batches(1).read(0)
    assert batch.inputs.image[0, 0, :, 0, 0].tolist() == [0, 1, 0]
    assert batch.segmentation[0, :, 1, 2].tolist() == [-1, 1, -1]
    assert (batch.segmentation[0, [0, 2]] == -1).all()


@pytest.mark.parametrize("plane, slices, allowed", [(0, 10, {0}), (1, 10, {0, 1}), (5, 10, {3, 4, 5}), (9, 10, {7}), (1, 2, {0})])
def test_where_a_stack_of_three_may_begin(plane: int, slices: int, allowed: set[int]) -> None:
    assert {first_slice(plane, 3, slices, np.random.default_rng(seed)) for seed in range(40)} == allowed
