"""Masks that a prompts file names to start from: on the plan's grid by hand, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from samunet.dataset.io.readers import reader_named
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import CaseProperties
from samunet.preprocessing.prompts.file import PromptsFile, read_prompts

LABELS = LabelSpace({"background": 0, "liver": 1, "spleen": 2, "ignore": 3})
# Plan axes are the file's (y, z, x); rows of 1 mm become 2 mm.
PLAN = DatasetPlan("SimpleITKIO", (1, 0, 2), (1, 0, 2), (2.0, 1.0, 1.0), (2, 2, 4), False, ("CT",), ("ct",), (False,),
                   ({},))
SHAPE = (2, 6, 4)  # of the file, z, y, x


def written(path: Path, values: np.ndarray, flipped: bool = False, spacing: float = 1.0) -> Path:
    affine = np.diag([spacing, 1.0, 1.0, 1.0])
    if flipped:  # the same voxels in space, stored from the other end of z
        values, affine[2, 2:] = values[::-1], (-1.0, len(values) - 1)
    nibabel.save(nibabel.Nifti1Image(values.T, affine), path)
    return path


def properties(folder: Path) -> CaseProperties:
    """Two rows are cropped away at the lower end of y; 4 rows become 2 slices of the plan."""
    _, geometry = reader_named("SimpleITKIO").read_images([written(folder / "image.nii.gz", np.zeros(SHAPE, np.uint8))])
    return CaseProperties("a", geometry, (6, 2, 4), ((2, 6), (0, 2), (0, 4)), (4, 2, 4), (2, 2, 4), ((0.0, 1.0),), "",
                          None, {})


def prompts(folder: Path, mask: str = "mask.nii.gz") -> PromptsFile:
    path = folder / "prompts.json"
    path.write_text(json.dumps({"space": "voxel", "cases": {"a": {}, "b": {}}, "masks": {"a": mask}}))
    return read_prompts(path, LABELS)


@pytest.mark.parametrize("flipped", [False, True])
def test_a_mask_takes_the_way_of_the_arrays(tmp_path: Path, flipped: bool) -> None:
    values = np.zeros(SHAPE, np.uint8)
    values[0, 2:4, 1] = 1  # rows 2 and 3 are the plan's first slice
    values[1, 5, 3] = 2  # of the plan's second slice, rows 4 and 5, the nearest is 5
    values[1, 0] = 1  # cropped away
    written(tmp_path / "mask.nii.gz", values, flipped)
    given = prompts(tmp_path)
    start = given.start(properties(tmp_path), PLAN)
    assert start.shape == (2, 2, 2, 4) and given.kinds == {"masks"}
    assert np.argwhere(start[0]).tolist() == [[0, 0, 1]] and np.argwhere(start[1]).tolist() == [[1, 1, 3]]


def test_a_case_without_a_mask_starts_from_nothing(tmp_path: Path) -> None:
    written(tmp_path / "mask.nii.gz", np.zeros(SHAPE, np.uint8))
    other = CaseProperties(**{**vars(properties(tmp_path)), "name": "b"})
    assert prompts(tmp_path).start(other, PLAN) is None


def test_an_absolute_path_is_taken_and_the_digest_is_of_the_mask_too(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    mask = written(tmp_path / "elsewhere" / "m.nii.gz", np.zeros(SHAPE, np.uint8))
    given = prompts(tmp_path, str(mask))
    before = given.digest
    written(mask, np.ones(SHAPE, np.uint8))
    assert given.start(properties(tmp_path), PLAN)[0].all() and given.digest != before


@pytest.mark.parametrize("shape, spacing, value, message", [
    ((2, 6, 5), 1.0, 1, "(?s)must have its image's shape.*mask.nii.gz"),
    (SHAPE, 2.0, 1, "(?s)must have its image's spacing.*the image of a"),
    (SHAPE, 1.0, 4, "(?s)only values that dataset.json lists.*mask.nii.gz.*4 .48 voxels"),
    (SHAPE, 1.0, 3, "(?s)must not hold the ignore label.*mask.nii.gz"),
])
def test_another_grid_and_unknown_values_are_refused(tmp_path, shape, spacing, value, message) -> None:
    written(tmp_path / "mask.nii.gz", np.full(shape, value, np.uint8), spacing=spacing)
    with pytest.raises(UserError, match=message):
        prompts(tmp_path).start(properties(tmp_path), PLAN)


def test_a_damaged_mask_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "mask.nii.gz", np.zeros(SHAPE, np.uint8))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match="(?s)must be readable.*mask.nii.gz"):
        prompts(tmp_path).start(properties(tmp_path), PLAN)
