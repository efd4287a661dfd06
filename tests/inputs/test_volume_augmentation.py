"""One warp for image, labels and embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from samunet.inputs import volume_augmentation
from samunet.inputs.volume_augmentation import BENDS, VolumeAugmentation, Warp
from samunet.inputs.volumes import Volumes
from samunet.planning.volume_rules import VolumePlan

PLAN = VolumePlan((8, 12, 12), (8, 16, 16), ((1, 1, 1),), ((3, 3, 3),), (2, 4, 4), (4, 4, 4))
VOXEL = (1, 1, 1)


def warp(matrix: Tensor | None = None, shift: tuple[float, ...] = (0.0, 0.0, 0.0), bends: Tensor | None = None) -> Warp:
    matrix = torch.eye(3) if matrix is None else matrix
    return Warp(matrix, torch.tensor(shift), torch.zeros(1, 3, BENDS, BENDS, BENDS) if bends is None else bends, PLAN.shape)


def volume() -> Tensor:
    return torch.randn(1, 2, 8, 12, 12, generator=torch.Generator().manual_seed(0))


def test_no_warp_changes_nothing() -> None:
    torch.testing.assert_close(warp().of(volume(), PLAN.shape, VOXEL, "bilinear"), volume(), atol=1e-5, rtol=0)
    assert torch.equal(warp().of(volume(), PLAN.shape, VOXEL, "nearest"), volume())


def test_a_shift_brings_what_lies_that_many_voxels_on() -> None:
    moved = warp(shift=(1.0, 0.0, -2.0)).of(volume(), PLAN.shape, VOXEL, "bilinear")
    torch.testing.assert_close(moved[:, :, :7, :, 2:], volume()[:, :, 1:, :, :-2], atol=1e-5, rtol=0)
    torch.testing.assert_close(moved[:, :, 7, :, 2:], volume()[:, :, 7, :, :-2], atol=1e-5, rtol=0)  # the border goes on


def test_a_quarter_turn_in_the_plane() -> None:
    turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # row from column, column from -row
    turned = warp(turn).of(volume(), PLAN.shape, VOXEL, "nearest")
    assert torch.equal(turned, torch.rot90(volume(), -1, (3, 4))) or torch.equal(turned, torch.rot90(volume(), 1, (3, 4)))
    assert not torch.equal(turned, volume())


def test_a_bend_that_is_the_same_everywhere_is_a_shift() -> None:
    bends = torch.zeros(1, 3, BENDS, BENDS, BENDS)
    bends[:, 1] = 3.0
    torch.testing.assert_close(warp(bends=bends).of(volume(), PLAN.shape, VOXEL, "bilinear"),
                               warp(shift=(0.0, 3.0, 0.0)).of(volume(), PLAN.shape, VOXEL, "bilinear"), atol=1e-4, rtol=0)


def test_embeddings_follow_the_image() -> None:
    stretched = warp(torch.diag(torch.tensor([1.0, 0.8, 1.0])), (0.0, 1.5, 0.0))
    # Each voxel, and each cell, holds the row of its middle. Row 6, the middle, comes from 7.5, and 2 rows above from 5.9.
    rows = (torch.arange(12) + 0.5).view(1, 1, 1, -1, 1).expand(1, 1, 8, 12, 12).contiguous()
    cells = ((torch.arange(4) + 0.5) * 4).view(1, 1, 1, -1, 1).expand(1, 1, 4, 4, 4).contiguous()
    fine = stretched.of(rows, PLAN.shape, VOXEL, "bilinear")
    coarse = stretched.of(cells, PLAN.padded, PLAN.cell, "bilinear")
    np.testing.assert_allclose(fine[0, 0, :, 3:5].mean((1, 2)), 5.9, atol=1e-4)
    np.testing.assert_allclose(fine[0, 0, :, 4:8].mean((1, 2)), 7.5, atol=1e-4)
    np.testing.assert_allclose(coarse[0, 0, :, 1], 7.5, atol=1e-4)


@pytest.mark.parametrize("flat", [False, True])
def test_the_same_key_gives_the_same_and_slices_stay_where_they_must(flat: bool, monkeypatch) -> None:
    monkeypatch.setattr(volume_augmentation, "WARPED_SHARE", 1.0)
    labels = torch.arange(8, dtype=torch.int16).view(-1, 1, 1).expand(8, 12, 12).contiguous()
    stack = Volumes(volume(), torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1)))
    augmentation = VolumeAugmentation(PLAN, 1, flat=flat)

    def made(seed: int) -> tuple[Volumes, Tensor]:
        return augmentation(stack, labels, np.random.default_rng(seed), [seed])

    (first, target), (again, same), (other, _) = made(1), made(1), made(2)
    assert torch.equal(first.image, again.image) and torch.equal(first.embeddings, again.embeddings) and torch.equal(target, same)
    assert not torch.equal(first.embeddings, other.embeddings) and target.dtype == torch.int64
    assert torch.equal(target, labels.long()) == flat


def test_what_is_no_image_is_warped_and_keeps_its_values(monkeypatch) -> None:
    monkeypatch.setattr(volume_augmentation, "WARPED_SHARE", 0.0)
    stack = Volumes(volume(), torch.zeros(1, 3, 4, 4, 4))
    labels = torch.zeros(8, 12, 12, dtype=torch.int16)
    made = [VolumeAugmentation(PLAN, 1, flat=False)(stack, labels, np.random.default_rng(seed), [seed])[0] for seed in range(9)]
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
    moved = Warp.shifting(Drawn(), PLAN, 10 / 7, flat).of(volume(), PLAN.shape, VOXEL, "bilinear")  # type: ignore[arg-type]
    slices = slice(0, 7) if flat else slice(1, 8)  # of a flat stack no slice moves
    torch.testing.assert_close(moved[:, :, :7, :11, :11], volume()[:, :, slices, 1:, 1:], atol=1e-5, rtol=0)


def test_what_is_no_image_is_misplaced_where_asked_for_and_the_image_is_not(monkeypatch) -> None:
    monkeypatch.setattr(volume_augmentation, "intensity_transforms", list)
    monkeypatch.setattr(volume_augmentation.Warp, "drawn", lambda *_: warp())
    stack = Volumes(volume(), torch.zeros(1, 3, 4, 4, 4))
    labels = torch.arange(8, dtype=torch.int16).view(-1, 1, 1).expand(8, 12, 12).contiguous()
    augmentation = VolumeAugmentation(PLAN, 1, flat=False, misplaced_voxels=3.0)
    made = [augmentation(stack, labels, np.random.default_rng(seed), [seed]) for seed in range(8)]
    for shown, target in made:
        torch.testing.assert_close(shown.image[:, 0], volume()[:, 0], atol=1e-5, rtol=0)
        assert torch.equal(target, labels.long())
    moved = [not torch.allclose(shown.image[:, 1], volume()[:, 1], atol=1e-4) for shown, _ in made]
    assert any(moved) and not all(moved)  # four in five are


def test_a_warp_that_moves_nothing_leaves_image_labels_and_embeddings(monkeypatch) -> None:
    # The embeddings cover 16 rows and columns in cells of 4, the image and its labels the first 12 of them.
    monkeypatch.setattr(volume_augmentation, "WARPED_SHARE", 1.0)
    monkeypatch.setattr(volume_augmentation, "intensity_transforms", list)
    monkeypatch.setattr(volume_augmentation.Warp, "drawn", lambda *_: warp())
    stack = Volumes(volume(), torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(1)))
    labels = torch.arange(8 * 12 * 12, dtype=torch.int16).view(8, 12, 12)
    shown, target = VolumeAugmentation(PLAN, 2, flat=False)(stack, labels, np.random.default_rng(0), [0])
    torch.testing.assert_close(shown.image, stack.image, atol=1e-5, rtol=0)
    torch.testing.assert_close(shown.embeddings, stack.embeddings, atol=1e-5, rtol=0)
    assert torch.equal(target, labels.long())
