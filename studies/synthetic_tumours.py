"""Synthetic tumours among distractors, some cases without a tumour, in nnU-Net's raw format, for studies of clicks.

Every case holds BLOBS irregular oblique blobs of the same low contrast (one standard deviation of the noise, over a
slowly varying background). What makes one of them the tumour: its core, the part nearest to its middle, is brighter by
`core`, a third of the noise unless said. The others have no core and are distractors: without the core nothing but a
click says which blob is meant. Every fifth case has distractors alone. Each case is a patient of its own, and its
randomness depends on the seed and its number alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from made_tumours import CONTRAST, NOISE, TEXTURE, blob, write
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter, label

from samunet.files import read_json, write_json

DATASET = "Dataset903_SyntheticTumour"
SHAPE = (32, 64, 64)
BLOBS, EVERY_EMPTY = 5, 5
CORE = 4.0
CORE_LEVEL = 0.4  # of the blob's level, which is 1 in its middle and 0 on its surface
GAP = 3  # voxels between two blobs, at least


@dataclass(frozen=True)
class Case:
    """Image float32 (Z, Y, X); the tumour, and distractors numbered from 1, both uint8 (Z, Y, X)."""

    image: np.ndarray
    tumour: np.ndarray
    distractors: np.ndarray

    def places(self) -> list[list[int]]:
        """Of each distractor, the voxel (z, y, x) that is farthest from its outside."""
        found = []
        for number in range(1, int(self.distractors.max()) + 1):
            distance = distance_transform_edt(self.distractors == number)
            found.append([int(index) for index in np.unravel_index(distance.argmax(), distance.shape)])
        return found


def synthetic_case(random: np.random.Generator, core: float, has_tumour: bool) -> Case:
    """One case; the first blob is the tumour, if it has one."""
    levels: list[np.ndarray] = []
    free = np.ones(SHAPE, bool)
    while len(levels) < BLOBS:
        level = blob(random, SHAPE)
        parts = label(level > 0)[0]
        level[parts != 1 + np.bincount(parts.ravel())[1:].argmax()] = 0  # the bent surface may cut pieces off
        if free[level > 0].all():
            levels.append(level)
            free &= ~binary_dilation(level > 0, np.ones((3, 3, 3)), GAP - 1)
    texture = gaussian_filter(random.standard_normal(SHAPE), 3)
    image = 100 + TEXTURE * texture / texture.std() + NOISE * random.standard_normal(SHAPE)
    for level in levels:
        image += CONTRAST * (level > 0)
    tumour, distractors = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    if has_tumour:
        tumour[levels[0] > 0] = 1
        image += core * (levels.pop(0) > CORE_LEVEL)
    for number, level in enumerate(levels, 1):
        distractors[level > 0] = number
    return Case(image.astype(np.float32), tumour, distractors)


def make_dataset(raw: Path, training: int, test: int, seed: int, core: float = CORE) -> Path:
    """Write the dataset and return its folder; one of the same arguments that is there stays as it is.

    Beside nnU-Net's folders, for the test cases: `labelsTs`; `distractorsTs`, label files with a number for each
    distractor; and `distractors.json`, case -> the middle voxel (z, y, x) of each.

    Raises:
        SystemExit: a dataset of other arguments is there.
    """
    folder, arguments = raw / DATASET, {"training": training, "test": test, "seed": seed, "core": core}
    recipe = folder / "recipe.json"
    if recipe.is_file():
        if read_json(recipe) != arguments:
            raise SystemExit(f"{folder} holds a dataset of other arguments; name another --work")
        return folder
    places = {}
    for index in range(training + test):
        case = synthetic_case(np.random.default_rng([seed, index]), core, index % EVERY_EMPTY != EVERY_EMPTY - 1)
        name, kind = f"tumour_{index:03d}", "Tr" if index < training else "Ts"
        write(case.image, folder / f"images{kind}" / f"{name}_0000.nii.gz")
        write(case.tumour, folder / f"labels{kind}" / f"{name}.nii.gz")
        if kind == "Ts":
            write(case.distractors, folder / "distractorsTs" / f"{name}.nii.gz")
            places[name] = case.places()
    write_json(folder / "distractors.json", places)
    write_json(folder / "dataset.json", {
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, "tumour": 1}, "numTraining": training,
        "file_ending": ".nii.gz"})
    write_json(recipe, arguments)
    return folder


def read(path: Path) -> np.ndarray:
    """Voxels (Z, Y, X) of one file."""
    array: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return array
