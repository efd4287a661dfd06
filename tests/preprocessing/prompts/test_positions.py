"""Where voxels and world positions of a file land on the plan's grid: by hand, and through the preprocessing of real
files.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.dataset.dataset import RawCase
from samunet.dataset.geometry import Geometry
from samunet.dataset.io.readers import reader_named
from samunet.dataset.labels import LabelSpace
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.preprocess import prepare_case
from samunet.preprocessing.prompts.positions import plan_positions, voxels_of_file, voxels_of_world

LABELS = LabelSpace({"background": 0, "a": 1})
# The plan's axes are the file's (x, z, y); slices of 4 mm become 2 mm.
PLAN = DatasetPlan("SimpleITKIO", (2, 0, 1), (1, 2, 0), (2.0, 2.0, 1.0), (8, 8, 12), True, ("MRI",), ("zscore",),
                   (False,),
                   ({},))
FLIPPED = (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
OBLIQUE = (math.cos(0.3), -math.sin(0.3), 0.0, math.sin(0.3), math.cos(0.3), 0.0, 0.0, 0.0, -1.0)
VOXEL = (5, 7, 2)


def written(folder: Path, direction: tuple[float, ...]) -> tuple[PreparedCase, sitk.Image]:
    """Of 12 x 16 x 6 voxels (x, y, z) with zeros in front: 2 columns, 3 rows, 1 slice. Label 1 is VOXEL alone."""
    image = np.zeros((6, 16, 12), np.float32)
    image[1:, 3:, 2:] = np.random.default_rng(0).uniform(1, 2, (5, 13, 10))
    label = np.zeros(image.shape, np.uint8)
    label[VOXEL[::-1]] = 1
    for array, name in ((image, "case_0000.nii.gz"), (label, "case.nii.gz")):
        picture = sitk.GetImageFromArray(array)
        picture.SetSpacing((2.0, 1.0, 4.0))
        picture.SetOrigin((-71.5, 33.25, 812.0))
        picture.SetDirection(direction)
        sitk.WriteImage(picture, str(folder / name))
    case = RawCase("case", (folder / "case_0000.nii.gz",), folder / "case.nii.gz")
    return prepare_case(case, "SimpleITKIO", PLAN, LABELS), picture


@pytest.mark.parametrize("direction", [FLIPPED, OBLIQUE])
def test_a_world_point_lands_on_its_voxel_on_the_plans_grid(tmp_path: Path, direction) -> None:
    case, picture = written(tmp_path, direction)
    world_mm = np.array([picture.TransformIndexToPhysicalPoint(VOXEL),
                         picture.TransformContinuousIndexToPhysicalPoint((2.25, 3, 1))])
    voxels = voxels_of_world(world_mm, case.properties.geometry)
    np.testing.assert_allclose(voxels, [VOXEL, (2.25, 3, 1)], atol=1e-4)  # NIfTI keeps directions as float32
    # x: 5 + 1/2 - 2 cropped. z: (2 + 1/2 - 1) * 2, since its slices were doubled. y: 7 + 1/2 - 3.
    positions = plan_positions(voxels, case.properties, PLAN)
    np.testing.assert_allclose(positions, [(3.5, 3.0, 4.5), (0.75, 1.0, 0.5)], atol=1e-3)
    # The label went the way of the arrays: its voxel spans 3 to 4, 2 to 4 and 4 to 5.
    assert np.argwhere(case.segmentation[0] == 1).tolist() == [[3, 2, 4], [3, 3, 4]]


def test_of_a_flat_file_the_third_place_is_zero() -> None:
    geometry = Geometry("SimpleITKIO", (1, 6, 8), (1998.0, 2.0, 0.5), (10.0, 20.0), (0.0, -1.0, 1.0, 0.0))
    # One column (0.5 mm) goes along world y, one row (2 mm) against world x.
    np.testing.assert_allclose(voxels_of_world(np.array([[4.0, 22.0, 0.0]]), geometry), [[4.0, 3.0, 0.0]])


def test_voxels_of_a_file_whose_array_was_turned(tmp_path: Path) -> None:
    """x of the file runs to the back, y to the head, z to the left: in RAS x is the flipped z, y the flipped x, z is y.
    """
    image = sitk.GetImageFromArray(np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4))  # (z, y, x)
    image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
    image.SetSpacing((1, 2, 3))
    sitk.WriteImage(image, str(tmp_path / "a_0000.nii.gz"))
    array, geometry = reader_named("SimpleITKIOWithReorient").read_images([tmp_path / "a_0000.nii.gz"])
    stored = sitk.GetArrayFromImage(image)
    places = np.array([[x, y, z] for x in range(4) for y in range(3) for z in range(2)], float)
    turned = voxels_of_file(places, geometry).round(6)
    assert [array[0][tuple(place[::-1])] for place in turned.astype(int)] == [stored[int(z), int(y), int(x)]
                                                                              for x, y, z in places]
    np.testing.assert_allclose(voxels_of_file(np.array([[0.5, 0, 0]]), geometry), [[1, 2.5, 0]], atol=1e-9)
    assert geometry.file is not None
    np.testing.assert_array_equal(voxels_of_file(places, geometry.file), places)
