"""A small synthetic dataset, learnable in a minute, for the demo and for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from samunet.dataset.io.sitk_io import write_image
from samunet.files import make_folder, write_json

NAME = "Dataset900_Phantom"
LABELS = {"background": 0, "shell": 1, "core": 2, "tube": 3}
SHAPE = (24, 48, 44)
# Mean intensity of each label, and the noise on it: neighbouring values overlap, so that position matters as well.
INTENSITIES = (100.0, 190.0, 280.0, 370.0)
NOISE = 25.0
ENDING = ".nii.gz"


def make_phantom_dataset(folder: Path, cases: int = 8, test_cases: int = 2, seed: int = 0) -> Path:
    """Write an nnU-Net raw dataset `Dataset900_Phantom` in `folder` and return its folder.

    One channel, about 24 x 48 x 44 voxels of about 1.3 x 1 x 1 mm, on an oblique grid with a shifted origin. An
    ellipsoid `shell` around a `core`, and a `tube` through the slices, at random places and sizes; a smooth bias field
    and noise. Training cases in imagesTr and labelsTr, test cases in imagesTs and labelsTs. The same arguments give the
    same bytes.
    """
    target = make_folder(Path(folder) / NAME)
    for index in range(cases + test_cases):
        name = f"phantom_{index:03d}"
        kind = "Tr" if index < cases else "Ts"
        rng = np.random.default_rng([seed, index])
        segmentation = _segmentation(rng)
        image = _image(segmentation, rng)
        grid = _grid(rng)
        _write(image, target / f"images{kind}" / f"{name}_0000{ENDING}", grid)
        _write(segmentation, target / f"labels{kind}" / f"{name}{ENDING}", grid)
    # Last, so that dataset.json exists only if all files do.
    write_json(target / "dataset.json", {
        "channel_names": {"0": "MRI"},
        "labels": LABELS,
        "numTraining": cases,
        "file_ending": ENDING,
        "name": "Phantom",
        "description": "Made by samunet: nested ellipsoids and a tube, with noise and a bias field",
    })
    return target


def _segmentation(rng: np.random.Generator) -> np.ndarray:
    """Labels uint8 (Z, Y, X); the shape differs a little from case to case."""
    shape = np.array(SHAPE) + rng.integers(-2, 3, 3)
    z, y, x = np.indices(tuple(shape.tolist()))
    centre = shape * (0.5, 0.42, 0.4) + rng.uniform(-2.5, 2.5, 3)
    radii = shape * (0.36, 0.25, 0.24) * rng.uniform(0.85, 1.15, 3)
    distance = np.sqrt(sum(((axis - c) / r) ** 2 for axis, c, r in zip((z, y, x), centre, radii, strict=True)))
    # The tube's axis runs through all slices and leans.
    start, lean = shape[1:] * (0.8, 0.8) + rng.uniform(-2, 2, 2), rng.uniform(-0.15, 0.15, 2)
    middle = z - shape[0] / 2
    tube = np.hypot(y - start[0] - lean[0] * middle, x - start[1] - lean[1] * middle) < rng.uniform(3.5, 4.5)
    segmentation = np.zeros(shape, np.uint8)
    segmentation[tube] = LABELS["tube"]
    segmentation[distance < 1] = LABELS["shell"]
    segmentation[distance < rng.uniform(0.6, 0.7)] = LABELS["core"]
    return segmentation


def _image(segmentation: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Intensities int16 (Z, Y, X), above 0 everywhere."""
    clean = gaussian_filter(np.array(INTENSITIES)[segmentation], 0.6)
    bias = gaussian_filter(rng.standard_normal(segmentation.shape), 12, mode="nearest")
    bias = 1 + 0.2 * bias / np.abs(bias).max()
    image: np.ndarray = np.clip(clean * bias + NOISE * rng.standard_normal(clean.shape), 1, None)
    return image.astype(np.int16)


def _grid(rng: np.random.Generator) -> sitk.Image:
    """An image that carries a spacing, an origin and an oblique direction."""
    grid = sitk.Image(1, 1, 1, sitk.sitkUInt8)
    # The axis with fewest voxels is the coarsest, and so the slice axis that planning chooses.
    grid.SetSpacing((rng.uniform(0.95, 1.05, 3) * (1, 1, 1.3)).round(3).tolist())
    grid.SetOrigin(rng.uniform(-100, 100, 3).round(2).tolist())
    turn = sitk.Euler3DTransform((0, 0, 0), *rng.uniform(-0.2, 0.2, 3).tolist())
    grid.SetDirection(turn.GetMatrix())
    return grid


def _write(array: np.ndarray, path: Path, grid: sitk.Image) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(grid.GetSpacing())
    image.SetOrigin(grid.GetOrigin())
    image.SetDirection(grid.GetDirection())
    write_image(image, path)
