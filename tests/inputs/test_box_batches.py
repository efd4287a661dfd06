"""Boxes that are told from training labels, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from samunet.dataset.labels import LabelSpace
from samunet.inputs import box_batches
from samunet.inputs.box_batches import BoxBatches, jittered
from samunet.inputs.image_stacks import CaseImageStacks
from samunet.inputs.protocols import Pick
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.planning.plans import EncoderPlan
from samunet.planning.tiles import TileFrame

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
PLAN = EncoderPlan("untrained", 16, (8, 8), 0.5, "repeat", 3, 4, "float16", 0, 1)  # 2 pixels a voxel


class Pictures:
    frame, depth = TileFrame((8, 8), (8, 8), 1.0), 6

    def read(self, picks: Sequence[Pick]) -> torch.Tensor:
        return torch.tensor([float(plane) for plane, _ in picks]).view(-1, 1, 1, 1, 1).expand(-1, 1, 3, 16, 16)


def batches(moved: int = 0) -> BoxBatches:
    """`a` is on slices 1 to 4, wider on slice 1; `b` on slice 5. `moved` shifts what augmentation sees by so many columns."""
    segmentation = np.zeros((6, 8, 8), np.int16)
    segmentation[1, 2:4, 1:6] = 1
    segmentation[2:5, 3:6, 3:5] = 1
    segmentation[5, 0, 0] = 2
    source = Pictures()
    labels = [LabelSlices.build(segmentation, source.frame, LABELS)]
    return BoxBatches(["case"], [CaseImageStacks(source, 3, (16, 16))], labels, Sampler(labels, LABELS, 2, 0, 1.0), 3,
                           lambda pictures, maps, random: (pictures, maps.long().roll(moved, 2)), PLAN)


@pytest.mark.parametrize("moved", [0, 2])
def test_a_box_is_around_all_of_a_class_wherever_the_stack_lies(monkeypatch, moved: int) -> None:
    monkeypatch.setattr(box_batches, "JITTER", (0.0, 0.0))
    made, seen = batches(moved), set()
    # `a` as a whole: rows 2 to 5, columns 1 to 5, moved with the warp. `b` is one voxel.
    expected = {1: (range(1, 5), [2.0 + 2 * moved, 4.0, 12.0 + 2 * moved, 12.0]), 2: (range(5, 6), [2.0 * moved, 0.0, 2.0 + 2 * moved, 2.0])}
    for iteration in range(20):
        batch = made.read(iteration)
        assert batch.segmentation.shape == (2, 3, 8, 8) and len(batch.inputs) == 2
        for stack in range(2):
            planes = batch.inputs.pictures[stack, :, 0, 0, 0, 0].long().tolist()
            assert any((batch.segmentation[stack] == label).any() for label in (1, 2))  # drawn for a class
            told = {int(channel): boxes for channel, boxes in zip(batch.inputs.channels[stack], batch.inputs.boxes[stack], strict=True)}
            for label, (slices, box) in expected.items():
                here = [plane in slices for plane in planes]
                assert (label in told) == any(here)
                if any(here):
                    assert [each.isfinite().all().item() for each in told[label]] == here
                    assert all(each.tolist() == box for each, shown in zip(told[label], here, strict=True) if shown)
            seen.add(tuple(planes))
    assert len(seen) > 2


def test_sides_move_by_shares_of_the_boxs_extent_and_alike_for_a_key() -> None:
    box = np.array([[2.0, 10.0, 20.0], [4.0, 20.0, 40.0]])
    moved = np.stack([jittered(box, np.random.default_rng([seed])) for seed in range(300)])
    shares = (moved - box) * [[-1.0], [1.0]] / (box[1] - box[0])
    assert -0.05 <= shares.min() < -0.045 and 0.145 < shares.max() <= 0.15
    assert abs(np.corrcoef(shares.reshape(300, 6).T) - np.eye(6)).max() < 0.25  # each side for itself
    again = [batches().read(3).inputs.boxes for _ in range(2)]
    assert torch.equal(again[0].nan_to_num(), again[1].nan_to_num())
