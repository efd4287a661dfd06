"""Labels of hand-made fields at chosen points, and what objects made from other objects have to do with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from samunet.pretraining import anatomy
from samunet.pretraining.anatomy import (
    FAR,
    GRID,
    LABELS,
    OBJECTS,
    PARTITION,
    RADIUS,
    TUBE_RADIUS,
    Anatomies,
    random_anatomies,
    random_rotation,
    smooth_noise,
)

AnatomyOf = Callable[[dict[int, Tensor]], Anatomies]
SHELL, NESTED, HALF = 0, 1, 2


def labels_at(made: Anatomies, points: list[tuple[float, float, float]], growth: float = 0.0) -> list[int]:
    coordinates = torch.tensor(points).view(1, 1, 1, len(points), 3)
    return made.labels(coordinates, torch.full((1, 1, OBJECTS), growth)).flatten().tolist()


def ball(cube: Tensor, radius: float) -> Tensor:
    """Signed distance to a ball about the centre."""
    return cube.norm(dim=-1) - radius


def test_the_largest_field_is_the_background_and_later_objects_paint_over_earlier(cube, anatomy_of: AnatomyOf) -> None:
    x, y, z = cube.unbind(-1)
    made = anatomy_of({0: x, 1: -x, 2: 0 * x + 0.2, PARTITION: z + 0.5, PARTITION + 3: y + 0.5})
    points = [(0.5, 0.0, 0.0), (-0.5, 0.0, 0.0), (0.1, 0.0, 0.0), (0.5, 0.0, -0.7), (0.5, -0.7, 0.0), (0.5, -0.7, -0.7)]
    #         x > 0.2          -x > 0.2          both below 0.2   z < -0.5          y < -0.5          both: the later
    assert labels_at(made, points) == [0, 1, 2, 4, 7, 7]


def test_growth_moves_the_boundary_of_a_ball_by_its_amount(cube, anatomy_of: AnatomyOf) -> None:
    made = anatomy_of({PARTITION: ball(cube, 0.5)})
    points = [(radius, 0.0, 0.0) for radius in (0.35, 0.45, 0.55, 0.65)]
    assert labels_at(made, points) == [4, 4, 0, 0]
    assert labels_at(made, points, growth=0.1) == [4, 4, 4, 0]
    assert labels_at(made, points, growth=-0.1) == [4, 0, 0, 0]


def test_growth_is_each_slices_and_each_objects_own(cube, anatomy_of: AnatomyOf) -> None:
    x, y, _ = cube.unbind(-1)
    made = anatomy_of({PARTITION: x, PARTITION + 1: y})
    line = torch.linspace(-0.995, 0.995, 200)
    coordinates = torch.zeros(1, 2, 2, 200, 3)
    coordinates[:, :, 0, :, 0], coordinates[:, :, 0, :, 1] = line, 1.0  # along x, where the second object is not
    coordinates[:, :, 1, :, 1], coordinates[:, :, 1, :, 0] = line, 1.0
    growth = torch.zeros(1, 2, OBJECTS)
    growth[0, 1, 0], growth[0, 1, 1] = 0.25, -0.5
    labels = made.labels(coordinates, growth)[0]
    # Points lie 0.01 apart at -0.995, -0.985, ...: 100 of them below 0, 125 below 0.25, 50 below -0.5.
    assert [int((labels[0, 0] == 4).sum()), int((labels[0, 1] == 5).sum())] == [100, 100]
    assert [int((labels[1, 0] == 4).sum()), int((labels[1, 1] == 5).sum())] == [125, 50]


def test_outside_the_cube_the_borders_label_holds(cube, anatomy_of: AnatomyOf) -> None:
    made = anatomy_of({PARTITION: 0.9 - cube[..., 0]})
    # A field of zeros out there would be no object, whose distance must be below 0.
    assert labels_at(made, [(0.85, 0, 0), (0.95, 0, 0), (2.0, 0, 0), (2.0, 5.0, -5.0), (-2.0, 0, 0)]) == [0, 4, 4, 4, 0]


def test_coordinates_are_x_y_z(cube, anatomy_of: AnatomyOf) -> None:
    made = anatomy_of({PARTITION + axis: 0.5 - cube[..., axis] for axis in range(3)})
    assert labels_at(made, [(0.8, 0, 0), (0, 0.8, 0), (0, 0, 0.8)]) == [4, 5, 6]


def test_rotations_are_orthonormal_and_of_both_hands() -> None:
    rotations = random_rotation(torch.Generator().manual_seed(0), 50)
    torch.testing.assert_close(rotations @ rotations.transpose(1, 2), torch.eye(3).expand(50, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(rotations).abs(), torch.ones(50))
    assert set(torch.linalg.det(rotations).round().tolist()) == {-1.0, 1.0}
    one = random_rotation(torch.Generator().manual_seed(1))
    torch.testing.assert_close(one @ one.T, torch.eye(3), atol=1e-5, rtol=0)


def derived(kind: int, before: Tensor, cube: Tensor, monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """An object made from `before` with walls of 0.06, without roughness."""
    monkeypatch.setattr(anatomy, "WALL", (0.06, 0.06))
    monkeypatch.setattr(anatomy, "integer", lambda low, high, generator: kind)
    return anatomy._derived(before, cube, torch.zeros(GRID, GRID, GRID), torch.Generator().manual_seed(0))


def test_a_shell_is_its_wall_thick_about_the_surface(cube, anatomy_of: AnatomyOf, monkeypatch) -> None:
    made = anatomy_of({PARTITION: derived(SHELL, ball(cube, 0.5), cube, monkeypatch)})
    near, far = 0.5 - 0.03, 0.5 + 0.03
    # Sampling on a grid of 0.05 bends the field where it turns, so points stay 0.02 off the wall's faces.
    assert labels_at(made, [(near - 0.02, 0, 0), (0.5, 0, 0), (far + 0.02, 0, 0), (0, 0, 0)]) == [0, 4, 0, 0]


def test_a_nested_core_lies_two_walls_inside(cube, anatomy_of: AnatomyOf, monkeypatch) -> None:
    before = ball(cube, 0.5)
    core = derived(NESTED, before, cube, monkeypatch)
    assert bool(((core < 0) <= (before < 0)).all()) and bool((core < 0).any())
    made = anatomy_of({PARTITION: before, PARTITION + 1: core})
    assert labels_at(made, [(0.37, 0, 0), (0.39, 0, 0), (0.49, 0, 0), (0.51, 0, 0)]) == [5, 4, 4, 0]


@pytest.mark.parametrize("kind", (HALF, HALF + 1))
def test_a_half_and_what_is_left_of_the_object_make_it_up_and_touch(cube, anatomy_of, monkeypatch, kind) -> None:
    before = ball(cube, 0.5)
    made = anatomy_of({PARTITION: before, PARTITION + 1: derived(kind, before, cube, monkeypatch)})
    labels = made.labels(cube.reshape(1, GRID, GRID, GRID, 3), torch.zeros(1, GRID, OBJECTS))[0]
    half, rest = labels == 5, labels == 4
    assert torch.equal(half | rest, before < 0)
    # The plane goes through the ball's centre.
    assert 0.48 < float(half.sum() / (half | rest).sum()) < 0.52
    touching = sum(int((half.roll(1, axis) & rest).sum() + (half.roll(-1, axis) & rest).sum()) for axis in range(3))
    assert touching > 100


def test_an_ellipsoid_of_equal_radii_is_a_ball(cube, monkeypatch) -> None:
    drawn = iter([torch.tensor([0.4]), torch.zeros(3), torch.zeros(3)])  # radius, log of stretching, centre
    monkeypatch.setattr(anatomy, "uniform", lambda *given: next(drawn))
    distance = anatomy._ellipsoid(cube, torch.Generator().manual_seed(0))
    torch.testing.assert_close(distance, ball(cube, 0.4), atol=1e-5, rtol=1e-5)


def test_a_tube_holds_the_points_within_its_radius_of_a_line(cube, monkeypatch) -> None:
    ends = torch.tensor([[-1.0, 0, 0], [0, 0, 0], [1, 0, 0]])  # straight along x
    drawn = iter([ends, torch.tensor(0.1)])
    monkeypatch.setattr(anatomy, "uniform", lambda *given: next(drawn))
    distance = anatomy._tube(cube, torch.Generator().manual_seed(0))
    from_axis = cube[..., 1:].norm(dim=-1) - 0.1
    # The line is 20 points that are at most 2 * 1.4 / 19 apart, which makes distances larger by at most half of that.
    assert bool((distance >= from_axis - 1e-6).all()) and bool((distance <= from_axis + 0.075).all())


def test_noise_is_smooth_and_of_about_unit_deviation() -> None:
    noise = smooth_noise(20, 4, torch.Generator().manual_seed(0))
    assert noise.shape == (20, GRID, GRID, GRID)
    assert 0.5 < float(noise.std()) < 1.5
    # Linear between 4 nodes: nothing but straight pieces of 39 / 3 = 13 samples.
    steps = noise[..., 1:14] - noise[..., :13]
    torch.testing.assert_close(steps, steps[..., :1].expand_as(steps), atol=1e-5, rtol=0)


def test_random_anatomies_have_a_background_and_two_objects_at_least() -> None:
    fields = random_anatomies(12, torch.Generator().manual_seed(5)).fields
    assert fields.shape == (12, LABELS, GRID, GRID, GRID)
    regions = (fields[:, :PARTITION].amax((2, 3, 4)) > -FAR).sum(1)
    objects = (fields[:, PARTITION:].amin((2, 3, 4)) < FAR).sum(1)
    assert bool((regions >= 1).all()) and len(set(regions.tolist())) > 1
    assert bool((objects >= 2).all()) and len(set(objects.tolist())) > 3
    assert max(RADIUS) < 1 and max(TUBE_RADIUS) < 1
