"""Volumes of pictures that hold the number of their slice, without augmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from samunet.dataset.labels import LabelSpace
from samunet.inputs.image_stack_batches import ImageStackBatches
from samunet.inputs.image_stacks import CaseImageStacks
from samunet.inputs.protocols import Pick
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.planning.tiles import TileFrame

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5})


class Pictures:
    def __init__(self, depth: int) -> None:
        self.frame, self.depth = TileFrame((4, 6), (4, 6), 1.0), depth

    def read(self, picks: Sequence[Pick]) -> torch.Tensor:
        return torch.tensor([float(plane) for plane, _ in picks]).view(-1, 1, 1, 1, 1).expand(-1, 1, 3, 16, 16)


def batches(depth: int) -> ImageStackBatches:
    """The label of each slice is its number."""
    segmentation = np.arange(depth, dtype=np.int16)[:, None, None] * np.ones((1, 4, 6), np.int16)
    source = Pictures(depth)
    labels = [LabelSlices.build(segmentation, source.frame, LABELS)]
    return ImageStackBatches(["case"], [CaseImageStacks(source, 3, (16, 16))], labels, Sampler(labels, LABELS, 2, 0), 3,
                               lambda pictures, labels, random: (pictures, labels.long()))


def test_pictures_and_labels_are_of_the_same_slices() -> None:
    made = batches(6)
    firsts = set()
    for iteration in range(30):
        batch = made.read(iteration)
        assert batch.names == ["case", "case"] and batch.inputs.shape == (2, 3, 1, 3, 16, 16)
        assert batch.inputs[:, :, 0, 0, 0, 0].tolist() == batch.segmentation[:, :, 0, 0].tolist()
        assert batch.segmentation.shape == (2, 3, 4, 6) and (batch.segmentation.diff(dim=1) == 1).all()
        firsts |= set(batch.segmentation[:, 0, 0, 0].tolist())
    assert firsts == {0, 1, 2, 3}
    assert torch.equal(batches(6).read(5).inputs, made.read(5).inputs)


def test_repeats_beyond_the_ends_of_a_short_case_keep_their_labels() -> None:
    batch = batches(2).read(0)
    assert batch.inputs[0, :, 0, 0, 0, 0].tolist() == batch.segmentation[0, :, 0, 0].tolist() == [0, 1, 1]
