"""Stacks of images that hold the number of their slice: read, sampled, augmented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from samunet.dataset.labels import LabelSpace
from samunet.inputs.batches import Batches
from samunet.inputs.image_stacks import (
    CONTRAST,
    GAMMA,
    SCALE,
    SELDOM,
    CaseImageStacks,
    ImageStackAugmentation,
    ImageStackSamples,
    _maybe,
    planes_of,
    recoloured,
    warped,
)
from samunet.inputs.protocols import Place
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.planning.encoder_rules import canvas_for
from samunet.planning.plans import AdapterPlan, EncoderPlan
from samunet.planning.tiles import TileFrame


class Images:
    """Two images for each slice and tile, full of 10 * slice + tile; remembers which were read."""

    frame, depth = TileFrame((8, 4), (4, 4), 1.0), 4

    def __init__(self) -> None:
        self.read_so_far: list[Place] = []

    def read(self, picks: Sequence[Place]) -> torch.Tensor:
        self.read_so_far += picks
        return torch.tensor([10.0 * plane + tile for plane, tile in picks]).view(-1, 1, 1, 1, 1).expand(-1, 2, 3, 16,
                                                                                                        16)


def values(stacks: torch.Tensor) -> list[list[float]]:
    assert stacks.shape[1:] == (3, 2, 3, 16, 16)
    return stacks[:, :, 0, 0, 0, 0].tolist()


def test_stacks_begin_at_the_picked_slices() -> None:
    assert values(CaseImageStacks(Images(), 3, (16, 16)).read([(0, 0), (1, 1), (0, 1)])) == [[0, 10, 20], [11, 21, 31],
                                                                                             [1, 11, 21]]


def test_beyond_an_end_the_slice_at_that_end_is_repeated() -> None:
    assert values(CaseImageStacks(Images(), 3, (16, 16)).read([(-2, 0), (3, 1)])) == [[0, 0, 0], [31, 31, 31]]
    assert planes_of(-1, 5, 3) == [0, 0, 1, 2, 2]


def test_what_a_tile_does_not_cover_is_cut_off() -> None:
    class Numbered(Images):
        def read(self, picks: Sequence[Place]) -> torch.Tensor:
            return torch.arange(256.0).view(1, 1, 1, 16, 16).expand(len(picks), 1, 3, 16, 16)

    stacks = CaseImageStacks(Numbered(), 3, (2, 4)).read([(0, 0)])
    assert stacks[0, 2, 0, 1].tolist() == [[0, 1, 2, 3], [16, 17, 18, 19]]


def test_a_slice_of_several_stacks_is_made_once() -> None:
    images = Images()
    CaseImageStacks(images, 3, (16, 16)).read([(-1, 0), (0, 0), (1, 0), (1, 1)])
    assert sorted(images.read_so_far) == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]


LABELS = LabelSpace({"background": 0, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5})


class Numbers:
    def __init__(self, depth: int) -> None:
        self.frame, self.depth = TileFrame((4, 6), (4, 6), 1.0), depth

    def read(self, picks: Sequence[Place]) -> torch.Tensor:
        return torch.tensor([float(plane) for plane, _ in picks]).view(-1, 1, 1, 1, 1).expand(-1, 1, 3, 16, 16)


def batches(depth: int) -> Batches:
    """The label of each slice is its number."""
    segmentation = np.arange(depth, dtype=np.int16)[:, None, None] * np.ones((1, 4, 6), np.int16)
    source = Numbers(depth)
    labels = [LabelSlices.build(segmentation, source.frame, LABELS)]
    samples = ImageStackSamples([CaseImageStacks(source, 3, (16, 16))], labels, 3,
                                lambda images, labels, random: (images, labels.long()))
    return Batches(["case"], Sampler(labels, LABELS, 2, 0), samples)


def test_images_and_labels_are_of_the_same_slices() -> None:
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


TILE = (2, 4)
SAME, NOWHERE = torch.eye(2), torch.zeros(2)
PLAN = EncoderPlan("untrained", 32, (10, 24), 0.5, "repeat", 2, "float16", 0, 1, adapters=AdapterPlan(3))


def voxels() -> Tensor:
    """1 to 8 on a tile of 2 x 4."""
    return torch.arange(1.0, 9.0).view(1, 1, *TILE)


def test_no_warp_changes_nothing() -> None:
    torch.testing.assert_close(warped(voxels(), SAME, NOWHERE, TILE, "bilinear"), voxels())


def test_a_shift_brings_what_lies_that_many_voxels_on_to_labels_and_finer_pictures_alike() -> None:
    shift = torch.tensor([0.0, 1.0])
    assert warped(voxels(), SAME, shift, TILE, "nearest")[0, 0].tolist() == [[2, 3, 4, 0], [6, 7, 8, 0]]
    finer = voxels().repeat_interleave(2, 2).repeat_interleave(2, 3)
    moved = warped(finer, SAME, shift, TILE, "nearest")[0, 0]
    assert moved[0].tolist() == [2, 2, 3, 3, 4, 4, 0, 0] and moved[3].tolist() == [6, 6, 7, 7, 8, 8, 0, 0]


def test_half_a_turn_and_twice_the_size_about_the_middle() -> None:
    assert warped(voxels(), -SAME, NOWHERE, TILE, "nearest")[0, 0].tolist() == [[8, 7, 6, 5], [4, 3, 2, 1]]
    larger = warped(voxels(), SAME / 2, NOWHERE, TILE, "nearest")[0, 0]
    assert larger.tolist() == [[2, 2, 3, 3], [6, 6, 7, 7]]


def test_colours_by_hand() -> None:
    # One row of a pixel outside, and of 1, 2 and 3, which are 0, 0.5 and 1 of the stack's range.
    pictures = torch.tensor([0.0, 1.0, 2.0, 3.0]).expand(2, 1, 3, 1, 4)

    def row(gamma: float, contrast: float, brightness: float) -> Tensor:
        changed = recoloured(pictures, gamma, contrast, brightness)
        assert torch.equal(changed, changed[:1, :, :1].expand_as(changed))
        return changed[0, 0, 0, 0]

    torch.testing.assert_close(row(1, 1, 1), torch.tensor([0.0, 1.0, 2.0, 3.0]))
    torch.testing.assert_close(row(2, 1, 1), torch.tensor([0.0, 1.0, 1.5, 3.0]))
    torch.testing.assert_close(row(1, 0.5, 1), torch.tensor([0.0, 1.5, 2.0, 2.5]))
    torch.testing.assert_close(row(1, 1, 0.5), torch.tensor([0.0, 1.0, 1.5, 2.0]))
    assert not recoloured(torch.zeros(1, 1, 3, 2, 2), 2, 2, 2).any()


def test_one_draw_for_all_slices_and_pictures_that_labels_follow() -> None:
    augmentation = ImageStackAugmentation(PLAN)
    labels = torch.zeros(3, 10, 24, dtype=torch.int16)
    labels[:, 3:8, 6:18] = 1
    # The tile of 10 x 24 is 13 x 32 pixels, on a canvas of 16 x 32: the object where its label is, and nothing below
    # the tile.
    shown = torch.nn.functional.interpolate(labels[:1, None].float(), (13, 32), mode="bilinear")
    pictures = torch.zeros(3, 2, 3, *canvas_for(PLAN.tile_shape, PLAN.input_size))
    pictures[..., :13, :] = shown + 1
    changes = 0
    for seed in range(12):
        moved, target = augmentation(pictures, labels, np.random.default_rng(seed))
        again, _ = augmentation(pictures, labels, np.random.default_rng(seed))
        assert torch.equal(moved, again) and moved.shape == pictures.shape and target.dtype == torch.int64
        assert torch.equal(moved, moved[:1, :1, :1].expand_as(moved)) and torch.equal(target,
                                                                                      target[:1].expand_as(target))
        assert moved.shape[-2:] == (16, 32) and not moved[..., 13:, :].any()
        inside = torch.nn.functional.interpolate(target[:1, None].float(), (13, 32), mode="bilinear")[0, 0]
        picture = moved[0, 0, 0, :13]
        assert picture[inside == 1].min() > picture[(inside == 0) & (picture != 0)].max() - 1e-4
        changes += int(not torch.allclose(moved, pictures))
    assert changes > 8


def test_what_is_seldom_drawn_changes_a_stack_in_two_of_nine() -> None:
    random = np.random.default_rng(0)
    drawn = [_maybe(random, SELDOM, (2.0, 3.0), 1.0) for _ in range(3000)]
    changed = [value for value in drawn if value != 1.0]
    assert 598 < len(changed) < 735  # 667 are expected, with a deviation of 23
    assert all(2.0 <= value < 3.0 for value in changed)


class Largest:
    """Draws the largest scale and nothing else."""

    def uniform(self, low: float, high: float) -> float:
        return {SCALE: high, GAMMA: 1.0, CONTRAST: 1.0}.get((low, high), 0.0)

    def random(self) -> float:
        return 0.0


def test_a_scale_above_1_shows_objects_larger() -> None:
    labels = torch.zeros(1, 20, 40, dtype=torch.int16)
    labels[:, 5:15, 10:30] = 1
    pictures = (torch.nn.functional.interpolate(labels[None].float(), (16, 32),
                                                mode="nearest")[:, :, None].expand(-1, -1, 3, -1, -1) + 1)
    moved, target = ImageStackAugmentation(replace(PLAN, tile_shape=(20, 40)))(pictures, labels, Largest())
    # 10 rows and 20 columns about the middle, 1.2 times as large.
    assert target[0].sum(0).max() == 12 and target[0].sum(1).max() == 24
    assert target[0, 4:16, 8:32].all() and target.sum() == 12 * 24
    # The same 12 and 24 voxels on pixels of 1.25 voxels: 9.6 rows, 19.2 columns.
    assert ((moved[0, 0, 0] > 1.5).sum(0).max() - 9.6).abs() <= 1 and ((moved[0, 0, 0] > 1.5).sum(1).max()
                                                                       - 19.2).abs() <= 1
