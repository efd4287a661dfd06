"""Known affine and local deformations, in voxels: recovered on every axis, at any scale of the spacing, the same bytes
each time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.registration.registration import (
    displacements,
    histogram_matched,
    register,
    register_affine,
    register_demons,
)

SHAPE = (20, 40, 32)
SPACING = np.array([3.0, 1.0, 2.0])  # mm along (z, y, x), times a scale
MIDDLE = (np.array(SHAPE) - 1) / 2
_rng = np.random.default_rng(0)
# Of `body`: 60 round spots of a radius of 3 voxels, with their places and brightness.
SPOTS = tuple(zip(_rng.uniform((4, 6, 5), (16, 34, 27), (60, 3)), _rng.uniform(0.1, 0.5, 60), strict=True))
STRETCH = np.array([1.1, 0.9, 1.15])
SHIFT = np.array([1.0, 2.0, -3.0])

Place = Callable[[np.ndarray], np.ndarray]


def body(at: np.ndarray) -> np.ndarray:
    """The intensity of a smooth body at voxel coordinates (..., 3) along (z, y, x)."""
    return sum(brightness * np.exp(-((at - centre) ** 2).sum(-1) / 3.0**2) for centre, brightness in SPOTS)


def image_of(body_at: Place, scale: float = 1.0) -> sitk.Image:
    """`body` as it is where `body_at` says that each voxel (z, y, x) comes from."""
    grid = np.moveaxis(np.indices(SHAPE), 0, -1).astype(float)
    image = sitk.GetImageFromArray(body(body_at(grid)).astype(np.float32))
    image.SetSpacing((SPACING[::-1] * scale).tolist())
    return image


def unchanged(at: np.ndarray) -> np.ndarray:
    return at


def stretched_back(at: np.ndarray) -> np.ndarray:
    """Where a voxel comes from when the body is stretched about the middle and shifted: place p goes to MIDDLE +
    STRETCH (p - MIDDLE) + SHIFT.
    """
    return (at - SHIFT - MIDDLE) / STRETCH + MIDDLE


@pytest.fixture
def four_threads() -> Iterator[None]:
    before = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(4)
    yield
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_an_affine_stretch_and_shift_is_found_on_every_axis_at_any_spacing(scale: float) -> None:
    fixed, moving = image_of(unchanged, scale), image_of(stretched_back, scale)
    found = displacements(register_affine(fixed, moving), fixed)
    # In the middle the shift alone; 5, 10 and 8 voxels further the stretch adds 0.5, -1 and 1.2 voxels.
    assert found[:, 9:11, 19:21, 15:17].mean((1, 2, 3)) == pytest.approx([1.0, 2.0, -3.0], abs=0.2)
    assert found[:, 14:16, 29:31, 23:25].mean((1, 2, 3)) == pytest.approx([1.5, 1.0, -1.8], abs=0.25)


@pytest.mark.parametrize("unit", [1.0, 0.7])
def test_the_same_pair_at_any_spacing_gives_the_same_displacements_in_voxels(unit: float) -> None:
    found = []
    for scale in (unit, unit * 0.01, unit * 100):
        fixed, moving = image_of(unchanged, scale), image_of(stretched_back, scale)
        found.append(displacements(register(fixed, histogram_matched(moving, fixed)), fixed))
    assert found[0][:, 9:11, 19:21, 15:17].mean((1, 2, 3)) == pytest.approx([1.0, 2.0, -3.0], abs=0.2)
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)
    np.testing.assert_allclose(found[2], found[0], atol=1e-3)


def test_an_image_of_one_plane_is_registered_alike_at_any_spacing() -> None:
    found = []
    for scale in (1.0, 0.01, 100.0):
        fixed, moving = image_of(unchanged, scale)[:, :, 9], image_of(stretched_back, scale)[:, :, 9]
        found.append(displacements(register_affine(fixed, moving), fixed))
    assert found[0][:, 19:21, 15:17].mean((1, 2)) == pytest.approx([2.0, -3.0], abs=0.3)
    np.testing.assert_allclose(found[1], found[0], atol=1e-3)
    np.testing.assert_allclose(found[2], found[0], atol=1e-3)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_a_point_is_first_displaced_by_the_demons_and_then_carried_by_the_affine_part(scale: float) -> None:
    """The affine part shifts by 10 rows.

    Around row 12 a point goes 2 rows further; at row 22, where the affine part takes it, none does.
    """
    place = np.array([9.5, 12.0, 14.0])

    def bend(at: np.ndarray) -> np.ndarray:
        return np.exp(-(((at - place) / (4, 5, 6)) ** 2).sum(-1))[..., None] * (0, 2.0, 0)

    def bent_back(at: np.ndarray) -> np.ndarray:
        """Solves p + bend(p) + 10 rows = at for p."""
        source = carried = at - (0, 10.0, 0)
        for _ in range(50):
            source = carried - bend(source)
        return source

    fixed, moving = image_of(unchanged, scale), image_of(bent_back, scale)
    affine = sitk.AffineTransform(3)
    affine.SetTranslation((0.0, 10.0 * SPACING[1] * scale, 0.0))
    found = displacements(register_demons(fixed, moving, affine), fixed)
    assert found[:, 9, 12, 14] == pytest.approx([0.0, 12.0, 0.0], abs=0.5)
    assert found[:, 9, 24, 14] == pytest.approx([0.0, 10.0, 0.0], abs=0.5)


def test_displacements_are_voxels_along_z_y_and_x() -> None:
    grid = sitk.Image(5, 4, 3, sitk.sitkUInt8)
    grid.SetSpacing((0.5, 1.0, 2.0))
    grid.SetOrigin((7.0, 0.0, 0.0))
    found = displacements(sitk.TranslationTransform(3, (1.0, 2.0, 3.0)), grid)
    # 3 mm along z are 1.5 voxels of 2 mm, 2 mm along y are 2 voxels, 1 mm along x is 2 voxels.
    np.testing.assert_allclose(found, np.broadcast_to(np.reshape([1.5, 2.0, 2.0], (3, 1, 1, 1)), (3, 3, 4, 5)))
    stretch = sitk.ScaleTransform(3, (1.0, 1.0, 1.5))
    np.testing.assert_array_equal(displacements(stretch, grid)[0][:, 0, 0], [0.0, 0.5, 1.0])


def test_the_same_pair_gives_the_same_bytes_whatever_itk_s_number_of_threads(four_threads: None) -> None:
    rng = np.random.default_rng(0)
    fixed, moving = (sitk.GetImageFromArray(sitk.GetArrayFromImage(image)
                                            + rng.normal(0, 0.05, SHAPE).astype(np.float32))
                     for image in (image_of(unchanged), image_of(stretched_back)))
    found = {displacements(register(fixed, moving), fixed).tobytes() for _ in range(5)}
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    found.add(displacements(register(fixed, moving), fixed).tobytes())
    assert len(found) == 1
