"""synthetic batches: repeatable, zero outside the tile, one anatomy for the patients of a family."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from samunet.pretraining import batches, rendering
from samunet.pretraining.anatomy import LABELS, OBJECTS, PARTITION
from samunet.pretraining.batches import Batch, BatchShape, make_batch

SHAPE = BatchShape(1, 4, 2, 64)
WIDEST = torch.ones(1, 1, 1)  # patients of a family differ as much as they may


def same(one: Batch, other: Batch) -> list[bool]:
    return [torch.equal(getattr(one, name), getattr(other, name)) for name in ("images", "labels", "clean", "inside")]


def alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """No deformation and no jitter: all patients are the same."""
    # Shift, bend, growth, the tilt's axis and the slices' jitter are all normal draws.
    monkeypatch.setattr(batches, "normal", lambda generator, *shape: torch.zeros(shape))
    monkeypatch.setattr(batches, "SCALE", 0.0)


def test_a_batch_follows_from_its_seed_and_step(small_batch) -> None:
    assert same(make_batch(SHAPE, 3, 0), small_batch) == [True] * 4
    for other in (make_batch(SHAPE, 3, 1), make_batch(SHAPE, 4, 0)):
        assert same(other, small_batch)[:3] == [False] * 3


def test_numbers_and_ranges(small_batch) -> None:
    assert SHAPE.images == 8
    assert small_batch.labels.dtype == torch.uint8 and int(small_batch.labels.max()) < PARTITION + OBJECTS
    assert float(small_batch.clean.min()) >= 0 and float(small_batch.clean.max()) <= 1
    # Family mini: ([0, 1] - 0.5) / 0.25.
    assert float(small_batch.images.min()) >= -2 and float(small_batch.images.max()) <= 2


def test_images_are_zero_outside_the_tile(monkeypatch) -> None:
    monkeypatch.setattr(batches, "PADDED_SHARE", 1.0)
    batch = make_batch(SHAPE, 3, 0)
    outside = ~batch.inside[:, :, None, None].expand_as(batch.images)
    assert bool(outside.any(-1).any(-1).all())  # every image has some
    assert float(batch.images[outside].abs().max()) == 0.0
    assert float((batch.images[~outside] == 0).float().mean()) < 0.05


def test_a_tile_fills_the_square_with_its_longer_side_from_the_upper_left(monkeypatch) -> None:
    monkeypatch.setattr(batches, "PADDED_SHARE", 1.0)
    inside = batches._inside(BatchShape(10, 4, 1, 64), torch.Generator().manual_seed(0))
    rows, columns = inside.any(2).sum(1), inside.any(1).sum(1)
    assert bool((torch.maximum(rows, columns) == 64).all()) and bool((torch.minimum(rows, columns) >= 38).all())
    assert bool((rows < 64).any()) and bool((columns < 64).any())
    for each, height, width in zip(inside, rows.tolist(), columns.tolist(), strict=True):
        assert bool(each[:height, :width].all()) and int(each.sum()) == height * width


def test_no_tile_is_padded_where_none_shall_be(monkeypatch) -> None:
    monkeypatch.setattr(batches, "PADDED_SHARE", 0.0)
    assert bool(make_batch(SHAPE, 3, 0).inside.all())


def test_patients_that_are_not_deformed_have_equal_labels(monkeypatch, small_batch) -> None:
    assert not torch.equal(small_batch.labels[:, 0], small_batch.labels[:, 1])
    alike(monkeypatch)
    labels = make_batch(SHAPE, 3, 0).labels
    assert len(labels.unique()) > 1
    for patient in range(1, 4):
        assert torch.equal(labels[:, patient], labels[:, 0])


def test_patients_of_a_shared_family_that_are_not_deformed_have_equal_images(monkeypatch) -> None:
    alike(monkeypatch)
    monkeypatch.setattr(batches, "PADDED_SHARE", 0.0)
    for name in ("TEXTURE", "BIAS", "NOISE", "CONTRAST_JITTER"):  # what is each patient's own
        monkeypatch.setattr(rendering, name, 0.0)
    for share, equal in ((1.0, True), (0.0, False)):
        monkeypatch.setattr(rendering, "SHARED_SHARE", share)
        batch = make_batch(BatchShape(2, 3, 1, 64), 3, 0)
        for family, patient in ((0, 1), (0, 2), (1, 1), (1, 2)):
            assert torch.equal(batch.labels[family, patient], batch.labels[family, 0])
            assert torch.equal(batch.images[family, patient], batch.images[family, 0]) == equal
            assert torch.equal(batch.clean[family, patient], batch.clean[family, 0]) == equal


def test_families_are_of_different_anatomies(monkeypatch) -> None:
    alike(monkeypatch)
    labels = make_batch(BatchShape(2, 2, 1, 64), 3, 0).labels
    assert not torch.equal(labels[0], labels[1])


def slices_of_planes(cube: Tensor, anatomy_of, steps: tuple[float, float, float]) -> Tensor:
    """Labels (3, 16, 16) of three slices at heights `steps` of planes: label 4 left of x = 0, 5 above z = 0.25."""
    made = anatomy_of({PARTITION: cube[..., 0], PARTITION + 1: 0.25 - cube[..., 2]})
    axis = (torch.arange(16) + 0.5) / 8 - 1
    coordinates = torch.zeros(1, 1, 1, 3, 16, 16, 3)
    coordinates[..., 0], coordinates[..., 1] = axis, axis[:, None]
    coordinates[..., 2] = torch.tensor(steps).view(3, 1, 1)
    return batches._labels(made, coordinates, torch.zeros(1, 1, OBJECTS))[0, 0]


def test_slices_at_one_height_have_one_labelling(cube, anatomy_of) -> None:
    before, middle, after = slices_of_planes(cube, anatomy_of, (0.0, 0.0, 0.0))
    assert middle.tolist() == [[4] * 8 + [0] * 8] * 16
    assert torch.equal(before, middle) and torch.equal(after, middle)


def test_the_slice_before_comes_first_and_the_one_after_last(cube, anatomy_of) -> None:
    before, middle, after = slices_of_planes(cube, anatomy_of, (-0.5, 0.0, 0.5))
    assert torch.equal(before, middle) and set(after.unique().tolist()) == {5}
    before, middle, after = slices_of_planes(cube, anatomy_of, (0.5, 0.0, 0.1))
    assert set(before.unique().tolist()) == {5} and torch.equal(after, middle)


def test_neighbours_are_labelled_by_blocks_of_pixels(cube, anatomy_of) -> None:
    x = cube[..., 0]
    made = anatomy_of({PARTITION: x - 0.12})  # 9 of 16 pixels lie left of 0.12, 4.5 blocks
    axis = (torch.arange(16) + 0.5) / 8 - 1
    coordinates = torch.zeros(1, 1, 1, 3, 16, 16, 3)
    coordinates[..., 0], coordinates[..., 1] = axis, axis[:, None]
    before, middle, _ = batches._labels(made, coordinates, torch.zeros(1, 1, OBJECTS))[0, 0]
    assert middle[0].tolist() == [4] * 9 + [0] * 7
    assert before[0].tolist() == [4] * 8 + [0] * 8  # the block of pixels 8 and 9 has its middle at 0.125


def test_coordinates_stay_in_the_cube_and_slices_are_a_step_apart(monkeypatch) -> None:
    alike(monkeypatch)
    monkeypatch.setattr(batches, "SLICE_STEP", (0.05, 0.05))
    monkeypatch.setattr(batches, "ZOOM", (0.1, 0.1))  # so small that no point meets the cube's side
    monkeypatch.setattr(batches, "uniform", lambda low, high, generator, *shape: torch.full(shape, (low + high) / 2))
    points = batches._coordinates(BatchShape(1, 2, 1, 16), WIDEST, torch.Generator().manual_seed(0))
    assert points.shape == (1, 2, 1, 3, 16, 16, 3)
    steps = (points[:, :, :, 1:] - points[:, :, :, :-1]).norm(dim=-1)
    torch.testing.assert_close(steps, torch.full_like(steps, 0.05))
    # 16 pixels across 2 half-sides of 0.1: neighbours lie 0.0125 apart.
    across = (points[..., 1:, :] - points[..., :-1, :]).norm(dim=-1)
    torch.testing.assert_close(across, torch.full_like(across, 0.0125))
    monkeypatch.setattr(batches, "ZOOM", (9.0, 9.0))
    points = batches._coordinates(BatchShape(1, 2, 1, 16), WIDEST, torch.Generator().manual_seed(0))
    assert float(points.abs().max()) == 1.0


def test_tilts_are_rotations_by_no_more_than_their_limit() -> None:
    tilts = batches.tilt(torch.ones(200, 1, 1), torch.Generator().manual_seed(0))
    torch.testing.assert_close(tilts @ tilts.transpose(1, 2), torch.eye(3).expand(200, 3, 3), atol=1e-5, rtol=0)
    degrees = torch.rad2deg(((tilts.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1).acos())
    assert 18 < float(degrees.max()) <= 20.1
    assert bool((torch.linalg.det(tilts) > 0.99).all())
    assert torch.equal(batches.tilt(torch.zeros(4, 1, 1), torch.Generator()), torch.eye(3).expand(4, 3, 3))


def test_patients_of_a_family_without_spread_lie_alike() -> None:
    def poses(spread: Tensor) -> Tensor:
        return batches._coordinates(BatchShape(2, 3, 2, 16), spread, torch.Generator().manual_seed(0))

    points = poses(torch.tensor([0.0, 1.0]).view(2, 1, 1))
    torch.testing.assert_close(points[0, 1:, :, 1], points[0, :1, :, 1].expand(2, -1, -1, -1, -1))
    away = (points[1, 1:, :, 1] - points[1, :1, :, 1]).abs().mean()
    nearer = poses(torch.full((2, 1, 1), 0.1))
    assert 0 < float((nearer[1, 1:, :, 1] - nearer[1, :1, :, 1]).abs().mean()) < 0.2 * float(away)


def test_a_merged_label_bears_the_name_of_another_in_all_patients(monkeypatch) -> None:
    labels = torch.arange(LABELS, dtype=torch.uint8).expand(2, 3, 1, 1, LABELS)
    monkeypatch.setattr(batches, "MERGED_SHARE", 0.0)
    assert torch.equal(batches._merged(labels, torch.Generator().manual_seed(0)), labels)
    monkeypatch.setattr(batches, "MERGED_SHARE", 0.5)
    names = batches._merged(labels, torch.Generator().manual_seed(0))
    assert torch.equal(names, names[:, :1].expand_as(names)) and not torch.equal(names[0], names[1])
    assert 5 <= int((names[:, 0] != labels[:, 0]).sum()) <= 23  # about 14 of 28
