"""Volumes of a case whose voxels and tokens hold their own places: read, sampled, warped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from samunet.dataset.labels import LabelSpace
from samunet.inputs import volumes
from samunet.inputs.batches import Batches
from samunet.inputs.protocols import Place
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.inputs.volumes import BENDS, CaseVolumes, VolumeAugmentation, Volumes, VolumeSamples, Warp, on_cells
from samunet.planning.tiles import TileFrame
from samunet.planning.volume_rules import VolumePlan

PLAN = VolumePlan((4, 16, 12), (4, 16, 16), ((1, 1, 1),), ((3, 3, 3),), (2, 4, 4), (2, 4, 4))
DEPTH = 7


class Embeddings:
    """Channels slice, row and column, in voxels, of a grid of 8 x 8 tokens over 16 x 16 voxels."""

    frame, depth = TileFrame((16, 12), (16, 12), 1.0), DEPTH

    def read(self, picks: Sequence[Place]) -> torch.Tensor:
        places = (torch.arange(8) + 0.5) * 2
        return torch.stack([torch.stack([torch.full((8, 8), float(plane)), places[:, None].expand(8, 8),
                                         places.expand(8, 8)])
                            for plane, _ in picks])


def image() -> np.ndarray:
    z, y, x = np.indices((DEPTH, 16, 12))
    return (10000 * z + 100 * y + x + 1)[None].astype(np.float32)


def test_image_and_embeddings_show_the_same_places() -> None:
    read = CaseVolumes(image, Embeddings(), PLAN).read([(2, 0), (3, 0)])
    np.testing.assert_array_equal(read.image[:, 0], np.stack([image()[0, 2:6], image()[0, 3:7]]))
    middles = torch.tensor([2.0, 6.0, 10.0, 14.0])
    for sample, slices in ((0, (2.5, 4.5)), (1, (3.5, 5.5))):  # two slices a cell
        expected = torch.stack(torch.meshgrid(torch.tensor(slices), middles, middles, indexing="ij"))
        torch.testing.assert_close(read.embeddings[sample], expected)


def test_slices_that_are_not_there_are_empty_and_have_their_neighbours_embeddings() -> None:
    read = CaseVolumes(image, Embeddings(), PLAN).read([(-2, 0), (5, 0)])
    assert not read.image[0, 0, :2].any() and not read.image[1, 0, 2:].any()
    np.testing.assert_array_equal(read.image[0, 0, 2:], image()[0, :2])
    np.testing.assert_array_equal(read.image[1, 0, :2], image()[0, 5:])
    assert read.embeddings[:, 0, :, 0, 0].tolist() == [[0.0, 0.5], [5.5, 6.0]]


def test_mirrored_stacks_are_mirrored_images_beside_what_mirrored_tiles_were_encoded_to() -> None:
    read = CaseVolumes(image, Embeddings(), PLAN, (1,)).read([(0, 0)])
    np.testing.assert_array_equal(read.image[0, 0], image()[0, :4, :, ::-1])
    assert read.embeddings[0, 2, 0, 0].tolist() == [2.0, 6.0, 10.0, 14.0]


def test_cells_beyond_the_tokens_take_the_last_ones() -> None:
    tokens = Embeddings().read([(0, 0)])
    wide = VolumePlan((1, 16, 12), (1, 16, 24), ((1, 1, 1),), ((3, 3, 3),), (1, 4, 4), (1, 4, 6))
    assert on_cells(tokens, torch.zeros(1, dtype=torch.long), wide)[2, 0, 0].tolist() == [2.0, 6.0, 10.0, 14.0, 15.0,
                                                                                          15.0]


def test_stacks_are_taken_by_rows() -> None:
    stacks = Volumes(torch.arange(6.0).view(3, 2), torch.arange(3.0))
    assert len(stacks) == 3
    assert stacks[1::2].image.tolist() == [[2.0, 3.0]] and stacks[1::2].embeddings.tolist() == [1.0]


LABELS = LabelSpace({"background": 0, "a": 1})


class Numbers:
    """The number of the slice."""

    def __init__(self, depth: int) -> None:
        self.frame, self.depth = TileFrame((4, 6), (4, 6), 1.0), depth

    def read(self, picks: Sequence[Place]) -> torch.Tensor:
        return torch.tensor([float(plane) for plane, _ in picks]).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def batches(depth: int) -> Batches:
    z, y, x = np.indices((depth, 4, 6))
    image = (100 * z + 10 * y + x + 1)[None].astype(np.float32)
    segmentation = np.zeros((depth, 4, 6), np.int16)
    segmentation[depth - 1, 1, 2] = 1
    plan = VolumePlan((3, 4, 6), (3, 4, 8), ((1, 1, 1),), ((3, 3, 3),), (1, 4, 4), (3, 1, 2))
    source = Numbers(depth)
    labels = [LabelSlices.build(segmentation, source.frame, LABELS)]
    samples = VolumeSamples([CaseVolumes(lambda: image, source, plan)], labels, plan,
                            lambda volume, labels, random, key: (volume, labels.long()))
    return Batches(["case"], Sampler(labels, LABELS, 2, 0), samples)


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


SMALL = VolumePlan((8, 12, 12), (8, 16, 16), ((1, 1, 1),), ((3, 3, 3),), (2, 4, 4), (4, 4, 4))
VOXEL = (1, 1, 1)


def warp(matrix: Tensor | None = None, shift: tuple[float, ...] = (0.0, 0.0, 0.0), bends: Tensor | None = None) -> Warp:
    matrix = torch.eye(3) if matrix is None else matrix
    return Warp(matrix, torch.tensor(shift), torch.zeros(1, 3, BENDS, BENDS, BENDS) if bends is None else bends,
                SMALL.shape)


def volume() -> Tensor:
    return torch.randn(1, 2, 8, 12, 12, generator=torch.Generator().manual_seed(0))


def test_no_warp_changes_nothing() -> None:
    torch.testing.assert_close(warp().of(volume(), SMALL.shape, VOXEL, "bilinear"), volume(), atol=1e-5, rtol=0)
    assert torch.equal(warp().of(volume(), SMALL.shape, VOXEL, "nearest"), volume())


def test_a_shift_brings_what_lies_that_many_voxels_on() -> None:
    moved = warp(shift=(1.0, 0.0, -2.0)).of(volume(), SMALL.shape, VOXEL, "bilinear")
    torch.testing.assert_close(moved[:, :, :7, :, 2:], volume()[:, :, 1:, :, :-2], atol=1e-5, rtol=0)
    # the border goes on
    torch.testing.assert_close(moved[:, :, 7, :, 2:], volume()[:, :, 7, :, :-2], atol=1e-5, rtol=0)


def test_a_quarter_turn_in_the_plane() -> None:
    turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # row from column, column from -row
    turned = warp(turn).of(volume(), SMALL.shape, VOXEL, "nearest")
    assert torch.equal(turned, torch.rot90(volume(), -1, (3, 4))) or torch.equal(turned,
                                                                                 torch.rot90(volume(), 1, (3, 4)))
    assert not torch.equal(turned, volume())


def test_a_bend_that_is_the_same_everywhere_is_a_shift() -> None:
    bends = torch.zeros(1, 3, BENDS, BENDS, BENDS)
    bends[:, 1] = 3.0
    torch.testing.assert_close(warp(bends=bends).of(volume(), SMALL.shape, VOXEL, "bilinear"),
                               warp(shift=(0.0, 3.0, 0.0)).of(volume(), SMALL.shape, VOXEL, "bilinear"), atol=1e-4,
                               rtol=0)


def test_embeddings_follow_the_image() -> None:
    stretched = warp(torch.diag(torch.tensor([1.0, 0.8, 1.0])), (0.0, 1.5, 0.0))
    # Each voxel, and each cell, holds the row of its middle. Row 6, the middle, comes from 7.5, and 2 rows above from
    # 5.9.
    rows = (torch.arange(12) + 0.5).view(1, 1, 1, -1, 1).expand(1, 1, 8, 12, 12).contiguous()
    cells = ((torch.arange(4) + 0.5) * 4).view(1, 1, 1, -1, 1).expand(1, 1, 4, 4, 4).contiguous()
    fine = stretched.of(rows, SMALL.shape, VOXEL, "bilinear")
    coarse = stretched.of(cells, SMALL.padded, SMALL.cell, "bilinear")
    np.testing.assert_allclose(fine[0, 0, :, 3:5].mean((1, 2)), 5.9, atol=1e-4)
    np.testing.assert_allclose(fine[0, 0, :, 4:8].mean((1, 2)), 7.5, atol=1e-4)
    np.testing.assert_allclose(coarse[0, 0, :, 1], 7.5, atol=1e-4)


@pytest.mark.parametrize("flat", [False, True])
def test_the_same_key_gives_the_same_and_slices_stay_where_they_must(flat: bool, monkeypatch) -> None:
    monkeypatch.setattr(volumes, "WARPED_SHARE", 1.0)
    labels = torch.arange(8, dtype=torch.int16).view(-1, 1, 1).expand(8, 12, 12).contiguous()
    stack = Volumes(volume(), torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1)))
    augmentation = VolumeAugmentation(SMALL, 1, flat=flat)

    def made(seed: int) -> tuple[Volumes, Tensor]:
        return augmentation(stack, labels, np.random.default_rng(seed), [seed])

    (first, target), (again, same), (other, _) = made(1), made(1), made(2)
    assert torch.equal(first.image, again.image) and torch.equal(first.embeddings,
                                                                 again.embeddings) and torch.equal(target, same)
    assert not torch.equal(first.embeddings, other.embeddings) and target.dtype == torch.int64
    assert torch.equal(target, labels.long()) == flat


def test_what_is_no_image_is_warped_and_keeps_its_values(monkeypatch) -> None:
    monkeypatch.setattr(volumes, "WARPED_SHARE", 0.0)
    stack = Volumes(volume(), torch.zeros(1, 3, 4, 4, 4))
    labels = torch.zeros(8, 12, 12, dtype=torch.int16)
    made = [VolumeAugmentation(SMALL, 1, flat=False)(stack, labels, np.random.default_rng(seed), [seed])[0]
            for seed in range(9)]
    assert all(torch.equal(each.image[:, 1], volume()[:, 1]) for each in made)
    assert not all(torch.equal(each.image[:, 0], volume()[:, 0]) for each in made)


class Drawn:
    """Draws that a person can follow: the upper limit of every uniform one, 0 of every normal one."""

    def uniform(self, low: float, high: float, size: int | None = None) -> np.ndarray:
        return np.full(size or (), float(high))

    def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.zeros(shape)


@pytest.mark.parametrize("flat", [False, True])
def test_a_shifting_warp_moves_by_seven_tenths_and_turns_nothing(flat: bool) -> None:
    moved = Warp.shifting(Drawn(), SMALL.shape, 10 / 7, flat).of(volume(), SMALL.shape, VOXEL,
                                                           "bilinear")  # type: ignore[arg-type]
    slices = slice(0, 7) if flat else slice(1, 8)  # of a flat stack no slice moves
    torch.testing.assert_close(moved[:, :, :7, :11, :11], volume()[:, :, slices, 1:, 1:], atol=1e-5, rtol=0)


def test_what_is_no_image_is_misplaced_where_asked_for_and_the_image_is_not(monkeypatch) -> None:
    monkeypatch.setattr(volumes, "intensity_transforms", list)
    monkeypatch.setattr(volumes.Warp, "random", lambda *_: warp())
    stack = Volumes(volume(), torch.zeros(1, 3, 4, 4, 4))
    labels = torch.arange(8, dtype=torch.int16).view(-1, 1, 1).expand(8, 12, 12).contiguous()
    augmentation = VolumeAugmentation(SMALL, 1, flat=False, misplaced_voxels=3.0)
    made = [augmentation(stack, labels, np.random.default_rng(seed), [seed]) for seed in range(8)]
    for shown, target in made:
        torch.testing.assert_close(shown.image[:, 0], volume()[:, 0], atol=1e-5, rtol=0)
        assert torch.equal(target, labels.long())
    moved = [not torch.allclose(shown.image[:, 1], volume()[:, 1], atol=1e-4) for shown, _ in made]
    assert any(moved) and not all(moved)  # four in five are


def test_a_warp_that_moves_nothing_leaves_image_labels_and_embeddings(monkeypatch) -> None:
    # The embeddings cover 16 rows and columns in cells of 4, the image and its labels the first 12 of them.
    monkeypatch.setattr(volumes, "WARPED_SHARE", 1.0)
    monkeypatch.setattr(volumes, "intensity_transforms", list)
    monkeypatch.setattr(volumes.Warp, "random", lambda *_: warp())
    stack = Volumes(volume(), torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1)))
    labels = torch.arange(8 * 12 * 12, dtype=torch.int16).view(8, 12, 12)
    shown, target = VolumeAugmentation(SMALL, 2, flat=False)(stack, labels, np.random.default_rng(0), [0])
    torch.testing.assert_close(shown.image, stack.image, atol=1e-5, rtol=0)
    torch.testing.assert_close(shown.embeddings, stack.embeddings, atol=1e-5, rtol=0)
    assert torch.equal(target, labels.long())
