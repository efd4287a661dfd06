"""Freely augmented volumes of a case whose voxels hold their own places."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samunet.dataset.labels import OUTSIDE, LabelSpace
from samunet.inputs import free_volumes
from samunet.inputs.free_volumes import FreeVolumeSamples, free_warp
from samunet.inputs.sampling import LabelSlices, Pick
from samunet.inputs.volumes import voxel_middles
from samunet.planning.tiles import TileFrame
from samunet.planning.volume_rules import VolumePlan

LABELS = LabelSpace({"background": 0, "a": 1})
PLAN = VolumePlan((3, 8, 6), (3, 8, 8), ((1, 1, 1),), ((3, 3, 3),), (1, 4, 4), (3, 2, 2))
PLAIN = (1.0, 1.0)


def samples(depth: int = 9, rows: int = 20, columns: int = 14, *, flat: bool = False) -> FreeVolumeSamples:
    """Two channels, 100 z + row and column; label values 10 z + row: the same places."""
    z, y, x = np.indices((depth, rows, columns))
    image = np.stack([100 * z + y, x]).astype(np.float32)
    labels = LabelSlices.build((10 * z + y).astype(np.int16), TileFrame((rows, columns), (8, 6), 0.5), LABELS)
    return FreeVolumeSamples([lambda: image], [labels], PLAN, 1, flat=flat)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither geometry nor intensities."""
    monkeypatch.setattr(free_volumes, "GEOMETRY_SHARE", 0.0)
    monkeypatch.setattr(free_volumes, "intensity_transforms", lambda **_: [])


def test_without_a_warp_a_volume_is_cut_near_its_tile_and_inside_the_case(plain: None) -> None:
    made, corners = samples(), set()
    for seed in range(30):
        volumes, target = made.read([Pick(0, 4, 0)], [[0, seed, 0]])
        first, row = divmod(round(float(volumes.image[0, 0, 0, 0, 0])), 100)
        column = round(float(volumes.image[0, 1, 0, 0, 0]))
        z, y, x = np.indices(PLAN.shape)
        np.testing.assert_allclose(volumes.image[0, 0], 100 * (z + first) + y + row, atol=2e-3)
        np.testing.assert_allclose(volumes.image[0, 1], x + column, atol=1e-3)
        np.testing.assert_array_equal(target[0], 10 * (z + first) + y + row)
        assert volumes.embeddings.shape == (1, 0, 3, 2, 2)
        corners.add((first, row, column))
    # Tile 0 begins at (0, 0); a quarter of its 8 rows is 2, of its 6 columns under 1.5; slice 4 is in all volumes.
    assert [{corner[axis] for corner in corners} for axis in range(3)] == [{2, 3, 4}, {0, 1, 2}, {0, 1}]


def test_a_case_that_is_smaller_is_in_the_middle_of_zeros_that_are_outside(plain: None) -> None:
    volumes, target = samples(1, 6, 6).read([Pick(0, 0, 0)], [[0, 0, 0]])
    np.testing.assert_allclose(volumes.image[0, 1, 1, 3], [0, 1, 2, 3, 4, 5], atol=1e-5)
    np.testing.assert_allclose(volumes.image[0, :, [0, 2]], 0, atol=1e-5)
    np.testing.assert_allclose(volumes.image[0, :, 1, [0, 7]], 0, atol=1e-5)
    assert target[0, 1, 1:7, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert (target[0, [0, 2]] == OUTSIDE).all() and (target[0, 1, [0, 7]] == OUTSIDE).all()


@pytest.mark.parametrize("flat", [False, True])
def test_labels_follow_the_image_through_every_warp(flat: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(free_volumes, "GEOMETRY_SHARE", 1.0)
    monkeypatch.setattr(free_volumes, "intensity_transforms", lambda **_: [])
    made, tilted = samples(flat=flat), 0
    for seed in range(10):
        volumes, target = made.read([Pick(0, 4, 3)], [[0, seed, 0]])
        inside = target[0] != OUTSIDE
        slices, rows = volumes.image[0, 0] // 100, target[0] % 10
        if flat:
            for number in range(3):  # each slice is of one slice of the case, turned or not
                whole = inside[number] & (volumes.image[0, 1, number] >= 1)
                assert (target[0, number][whole] // 10).float().std() < 1.5  # rows reach 19: a slice and the next
        tilted += int(not flat and float(slices[1][inside[1]].std()) > 0)
        assert inside.any() and rows.shape == PLAN.shape
    assert flat or tilted


@pytest.mark.parametrize("flat", [False, True])
def test_warps_stay_within_their_ranges(flat: bool) -> None:
    shape = (16, 32, 24)
    places = voxel_middles(shape)
    middle = torch.tensor([8.0, 16.0, 12.0])
    moved = [free_warp(np.random.default_rng(seed), shape, flat).sources(places) for seed in range(60)]
    still = sum(bool(torch.allclose(each, places, atol=1e-4)) for each in moved)
    assert 20 <= still <= 42  # 0.8 to the third of 60, 31, are neither turned, scaled nor bent
    for each in moved:
        if flat:
            torch.testing.assert_close(each[..., 0], places[..., 0], atol=1e-4, rtol=0)
        # A diagonal grows by 1 / 0.7 at most, and bends by a few of 4 % of 32.
        farthest = (each - middle).norm(dim=-1).max()
        assert farthest < (places - middle).norm(dim=-1).max() / 0.7 + 8


def test_the_same_key_gives_the_same_and_only_the_image_is_recoloured() -> None:
    made = samples()
    first, again, other = (made.read([Pick(0, 4, 1)], [[0, seed, 0]]) for seed in (1, 1, 2))
    assert torch.equal(first[0].image, again[0].image) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0].image, other[0].image)
    for seed in range(12):
        volumes, target = made.read([Pick(0, 4, 1)], [[0, seed, 0]])
        columns = volumes.image[0, 1]
        assert target.dtype == torch.int64 and float(columns.min()) >= 0 and float(columns.max()) < 14
