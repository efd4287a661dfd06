"""The display grid, by hand and against nibabel's canonical orientation."""

from __future__ import annotations

from itertools import permutations, product

import nibabel
import numpy as np
import pytest

from samunet.annotation.planes import PLANES, display_of
from samunet.dataset.geometry import Geometry

LPS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
SHAPE = (2, 3, 4)


def geometry(direction: tuple[float, ...] = LPS, spacing: tuple[float, float, float] = (3.0, 2.0, 1.0)) -> Geometry:
    return Geometry("SimpleITKIO", SHAPE, spacing, (0.0, 0.0, 0.0) if direction else (), direction)


def counted() -> np.ndarray:
    """Every voxel has its own value, 0 to 23."""
    return np.arange(24, dtype=np.float32).reshape(1, *SHAPE)


def value(display, volume: np.ndarray, plane: int, index: int, row: int, column: int) -> int:
    return round(float(display.slice_of(volume, plane, index)[row, column]) / 65535 * 23)


def test_an_image_along_the_axes_by_hand() -> None:
    display = display_of(counted(), geometry())
    assert display.shape == SHAPE and display.spacing_mm == (3, 2, 1)
    # axial slice 1: rows run to posterior, columns to the left
    assert value(display, display.levels[0], 0, 1, 0, 0) == 12
    assert value(display, display.levels[0], 0, 1, 2, 3) == 23
    # coronal slice 2: superior (index 1) is the first row
    assert value(display, display.levels[0], 1, 2, 0, 0) == 12 + 8
    assert value(display, display.levels[0], 1, 2, 1, 3) == 8 + 3
    # sagittal slice 3: superior first, anterior on the left
    assert value(display, display.levels[0], 2, 3, 0, 0) == 12 + 3
    assert value(display, display.levels[0], 2, 3, 1, 2) == 8 + 3
    assert display.to_array((1, 2, 3)) == display.from_array((1, 2, 3)) == (1, 2, 3)
    assert [display.array_axis(plane) for plane in range(3)] == [0, 1, 2]


def test_an_image_with_the_right_first_is_mirrored() -> None:
    display = display_of(counted(), geometry((-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)))
    assert value(display, display.levels[0], 0, 0, 0, 0) == 3  # the array's last column is the most right
    assert display.to_array((0, 1, 0)) == (0, 1, 3)
    assert display.from_array((0, 1, 3)) == (0, 1, 0)


def tilted(order: tuple[int, ...], signs: tuple[int, ...]) -> np.ndarray:
    """Axes (x, y, z) of an image as columns in LPS: a permutation with signs, then two small rotations."""
    matrix = np.zeros((3, 3))
    matrix[list(order), range(3)] = signs
    for first, second, degrees in ((0, 1, 20), (1, 2, 15)):
        angle, turn = np.radians(degrees), np.eye(3)
        turn[[first, first, second, second], [first, second, first, second]] = (
            np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle))
        matrix = turn @ matrix
    return matrix


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_orientation_as_nibabel_has_it(order: tuple[int, ...]) -> None:
    """as_closest_canonical gives RAS; the display grid counts to superior, posterior and left."""
    for signs in product((1, -1), repeat=3):
        axes = tilted(order, signs)
        display = display_of(counted(), geometry(tuple(axes.ravel().tolist()), (1.0, 1.0, 1.0)))
        affine = np.eye(4)
        affine[:3, :3] = np.diag([-1, -1, 1]) @ axes
        canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image(counted()[0].T, affine)).get_fdata()
        expected = canonical[::-1, ::-1].T  # (superior, posterior, left)
        np.testing.assert_array_equal(np.rint(display.levels[0] / 65535 * 23), expected)
        for place in np.ndindex(display.shape):
            index = display.to_array(place)
            assert counted()[0][index] == expected[place]
            assert display.from_array(index) == place
        for number, plane in enumerate(PLANES):
            assert display.shape[plane.axis] == SHAPE[display.array_axis(number)]


def test_two_oblique_axes_near_one_direction_get_an_axis_each() -> None:
    """At 45 degrees the nearest directions of two axes may be the same; each direction is still used once."""
    half = float(np.sqrt(0.5))
    display = display_of(counted(), geometry((half, -half, 0.0, half, half, 0.0, 0.0, 0.0, 1.0)))
    assert sorted(display.turn.axes) == [0, 1, 2]


def test_images_without_a_place_keep_their_axes_and_flat_ones_have_one_plane() -> None:
    display = display_of(counted(), geometry(()))
    assert display.turn.axes == (0, 1, 2) and display.turn.flipped == (False, False, False)
    flat = display_of(counted()[:, :1], Geometry("NaturalImage2DIO", (1, 3, 4), (999.0, 1.0, 1.0)))
    assert [plane["name"] for plane in flat.to_json()["planes"]] == ["axial"]


def test_levels_and_windows() -> None:
    """65536 levels span the range; the window spans the percentiles 0.5 and 99.5."""
    image = np.linspace(-1000, 3000, 24, dtype=np.float32).reshape(1, *SHAPE)
    display = display_of(image, geometry())
    assert display.ranges == ((-1000.0, 3000.0),)
    assert display.levels.min() == 0 and display.levels.max() == 65535
    low, high = display.windows[0]
    assert low == pytest.approx(-1000 + 0.005 * 4000) and high == pytest.approx(3000 - 0.005 * 4000)
    constant = display_of(np.full((1, *SHAPE), 7, np.float32), geometry())
    assert constant.windows == ((7.0, 8.0),) and (constant.levels == 0).all()
