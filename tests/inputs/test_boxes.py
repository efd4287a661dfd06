"""Boxes on stacks, by hand: those of prompts, and those around training labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from samunet.dataset.labels import LabelSpace
from samunet.inputs import boxes
from samunet.inputs.batches import Batches
from samunet.inputs.boxes import NO_BOX, BoxSamples, BoxStacks, CaseBoxStacks, boxes_on, jittered
from samunet.inputs.image_stacks import CaseImageStacks, ImageStackSamples
from samunet.inputs.protocols import Place
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.planning.plans import AdapterPlan, EncoderPlan
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.prompts.case_prompts import LabelPrompts

LABELS = LabelSpace({"background": 0, "a": 1, "b": 2})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))
PLAN = EncoderPlan("untrained", 12, (4, 6), 0.5, "repeat", 4, "float16", 0, 1, adapters=AdapterPlan(3))
# Slices 1 and 2, rows 1 and 2, columns 2 to 4.
BOX = np.array([[[1.0, 1.0, 2.0], [3.0, 3.0, 5.0]]])
PIXELS = [4.0, 2.0, 10.0, 6.0]  # x0, y0, x1, y1


def told(boxes: torch.Tensor) -> list[list[list[float] | None]]:
    return [[None if each.isnan().all() else each.tolist() for each in slices] for slices in boxes]


def test_a_3d_box_is_the_same_on_each_of_its_slices_and_nowhere_else() -> None:
    boxes, channels = boxes_on([0, 1, 2], (0, 0), {1: LabelPrompts(boxes=BOX)}, LABELS, PLAN)
    assert told(boxes) == [[None, PIXELS, PIXELS]] and channels.tolist() == [1]
    assert len(boxes_on([3, 4, 5], (0, 0), {1: LabelPrompts(boxes=BOX)}, LABELS, PLAN)[0]) == 0


def test_every_object_has_a_place_of_its_own_and_points_none() -> None:
    several = np.concatenate([BOX, BOX + [0, 1, 1]])
    prompts = {2: LabelPrompts(boxes=several, points=np.ones((1, 3))), 1: LabelPrompts(points=np.ones((1, 3)))}
    boxes, channels = boxes_on([1], (0, 0), prompts, LABELS, PLAN)
    assert told(boxes) == [[PIXELS], [[6.0, 4.0, 12.0, 8.0]]] and channels.tolist() == [2, 2]
    # Of regions the background has no channel.
    assert boxes_on([1], (0, 0), {2: LabelPrompts(boxes=BOX)}, REGIONS, PLAN)[1].tolist() == [1]


def test_a_box_is_cut_to_the_tile_and_told_from_its_first_voxel() -> None:
    prompts = {1: LabelPrompts(boxes=BOX)}
    assert told(boxes_on([1], (2, 0), prompts, LABELS, PLAN)[0]) == [[[4.0, 0.0, 10.0, 2.0]]]
    assert len(boxes_on([1], (3, 0), prompts, LABELS, PLAN)[0]) == 0


@pytest.mark.parametrize(("mirror", "expected"), [
    ((0,), [4.0, 2.0, 10.0, 6.0]),  # rows 1 and 2 of 4 are rows 1 and 2 again
    ((1,), [2.0, 2.0, 8.0, 6.0]),  # columns 2 to 4 of 6 are columns 1 to 3
])
def test_a_mirrored_tile_has_a_mirrored_box(mirror, expected) -> None:
    assert told(boxes_on([1], (0, 0), {1: LabelPrompts(boxes=BOX)}, LABELS, PLAN, mirror)[0]) == [[expected]]


class Pictures:
    frame, depth = TileFrame((4, 6), (4, 6), 0.5), 4

    def read(self, picks: Sequence[Place]) -> torch.Tensor:
        return torch.tensor([float(plane) for plane, _ in picks]).view(-1, 1, 1, 1, 1).expand(-1, 1, 3, 12, 12)


def test_stacks_of_a_case_are_filled_up_with_places_that_nobody_takes() -> None:
    prompts = {1: LabelPrompts(boxes=BOX), 2: LabelPrompts(boxes=BOX + [1, 0, 0])}  # slices 1 and 2, 2 and 3
    stacks = CaseBoxStacks(CaseImageStacks(Pictures(), 3, (12, 12)), prompts, LABELS, PLAN).read([(-1, 0), (2, 0)])
    assert stacks.images[:, :, 0, 0, 0, 0].tolist() == [[0, 0, 1], [2, 3, 3]]
    assert stacks.channels.tolist() == [[1, NO_BOX], [1, 2]]
    # Beyond the end the last slice is repeated, and so is its box.
    assert told(stacks.boxes[0]) == [[None, None, PIXELS], [None] * 3]
    assert told(stacks.boxes[1]) == [[PIXELS, None, None], [PIXELS] * 3]
    half = stacks[1:2]
    assert len(half) == 1 and half.channels.tolist() == [[1, 2]] and torch.equal(half.images, stacks.images[1:])


def test_a_stack_without_a_box_has_one_empty_place() -> None:
    stacks = BoxStacks.of(torch.zeros(1, 3, 1, 3, 12, 12), [(torch.zeros(0, 3, 4), torch.zeros(0, dtype=torch.long))])
    assert stacks.channels.tolist() == [[NO_BOX]] and stacks.boxes.isnan().all()


# 2 pixels a voxel
SQUARE = EncoderPlan("untrained", 16, (8, 8), 0.5, "repeat", 4, "float16", 0, 1, adapters=AdapterPlan(3))


class Numbers:
    frame, depth = TileFrame((8, 8), (8, 8), 1.0), 6

    def read(self, picks: Sequence[Place]) -> torch.Tensor:
        return torch.tensor([float(plane) for plane, _ in picks]).view(-1, 1, 1, 1, 1).expand(-1, 1, 3, 16, 16)


def batches(moved: int = 0) -> Batches:
    """`a` is on slices 1 to 4, wider on slice 1; `b` on slice 5.

    `moved` shifts what augmentation sees by so many columns.
    """
    segmentation = np.zeros((6, 8, 8), np.int16)
    segmentation[1, 2:4, 1:6] = 1
    segmentation[2:5, 3:6, 3:5] = 1
    segmentation[5, 0, 0] = 2
    source = Numbers()
    labels = [LabelSlices.build(segmentation, source.frame, LABELS)]
    stacks = ImageStackSamples([CaseImageStacks(source, 3, (16, 16))], labels, 3,
                               lambda images, maps, random: (images, maps.long().roll(moved, 2)))
    return Batches(["case"], Sampler(labels, LABELS, 2, 0, 1.0), BoxSamples(stacks, LABELS, SQUARE))


@pytest.mark.parametrize("moved", [0, 2])
def test_a_box_is_around_all_of_a_class_wherever_the_stack_lies(monkeypatch, moved: int) -> None:
    monkeypatch.setattr(boxes, "JITTER", (0.0, 0.0))
    made, seen = batches(moved), set()
    # `a` as a whole: rows 2 to 5, columns 1 to 5, moved with the warp. `b` is one voxel.
    expected = {1: (range(1, 5), [2.0 + 2 * moved, 4.0, 12.0 + 2 * moved, 12.0]),
                2: (range(5, 6), [2.0 * moved, 0.0, 2.0 + 2 * moved, 2.0])}
    for iteration in range(20):
        batch = made.read(iteration)
        assert batch.segmentation.shape == (2, 3, 8, 8) and len(batch.inputs) == 2
        for stack in range(2):
            planes = batch.inputs.images[stack, :, 0, 0, 0, 0].long().tolist()
            assert any((batch.segmentation[stack] == label).any() for label in (1, 2))  # drawn for a class
            told = {int(channel): boxes
                    for channel, boxes in zip(batch.inputs.channels[stack], batch.inputs.boxes[stack], strict=True)}
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
