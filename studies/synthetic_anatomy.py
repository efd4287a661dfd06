"""One synthetic anatomy at several sizes of image and object, as datasets in nnU-Net's raw format.

All datasets of a seed show the same anatomy and the same patients (`samunet.pretraining`: fields that are labelled,
bent for each patient, and rendered). They differ in how many pixels an image has along each side, and in the radius of
the target, a sphere of the anatomy whose contrast may be that of others: then its place says what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk
import torch
from torch import Tensor

from samunet.files import make_folder, read_json, write_json
from samunet.pretraining.anatomy import GRID, LABELS, OBJECTS, PARTITION, Anatomies, random_anatomies
from samunet.pretraining.random_numbers import normal
from samunet.pretraining.start_rendering import render_volumes
from samunet.pretraining.start_volumes import bends

# In half-sides of the anatomy's cube: what an image shows, and how far patients are bent and moved.
HALF_WIDTH, HALF_DEPTH, BEND, SHIFT = 0.8, 0.5, 0.05, 0.04
SPACING_MM, WIDTH_MM = 4.0, 256.0  # between slices; of an image, whatever its pixels are
CENTRE = (0.15, -0.1, 0.0)  # of the target, (x, y, z)
TARGET = PARTITION + OBJECTS - 1  # the last object, so that none is painted over it


@dataclass(frozen=True)
class Size:
    """Pixels along each side of an image, and the target's radius as a fraction of half that side."""

    pixels: int
    radius: float

    @property
    def diameter(self) -> float:
        """The target's, in pixels."""
        return self.pixels * self.radius

    def name(self, number: int) -> str:
        """The dataset's, with its id."""
        return f"Dataset{number}_Anatomy{self.pixels}x{round(self.radius * 1000):03d}"


def patients(size: Size, count: int, slices: int, seed: int) -> tuple[Tensor, Tensor]:
    """Images float (P, Z, Y, X), each with mean 0 and standard deviation 1, and masks of the target, uint8."""
    generator = torch.Generator().manual_seed(seed)
    anatomy = _with_target(random_anatomies(1, generator), size.radius * HALF_WIDTH)
    shape = (slices, size.pixels, size.pixels)
    axes = [torch.linspace(-half, half, length)
            for half, length in zip((HALF_DEPTH, HALF_WIDTH, HALF_WIDTH), shape, strict=True)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)
    moved = (points + BEND * bends(count, shape, generator).movedim(1, -1)
             + SHIFT * normal(generator, count, 3)[:, None, None, None]).clamp(-1, 1)
    labels = anatomy.labels(moved.flatten(0, 1)[None], torch.zeros(1, count * slices, OBJECTS))
    labels = labels[0].unflatten(0, (count, slices))
    return render_volumes(labels, LABELS, True, generator)[:, 0], (labels == TARGET).byte()


def make_dataset(raw: Path, number: int, size: Size, cases: int, slices: int, seed: int) -> Path:
    """Write the dataset and return its folder; one of the same arguments that is there stays as it is.

    Raises:
        SystemExit: a dataset of other arguments is there.
    """
    folder, arguments = raw / size.name(number), {"cases": cases, "slices": slices, "seed": seed}
    recipe = folder / "recipe.json"
    if recipe.is_file():
        if read_json(recipe) != arguments:
            raise SystemExit(f"{folder} holds a dataset of other arguments; remove it, or use another samunet_raw")
        return folder
    images, masks = patients(size, cases, slices, seed)
    for index in range(cases):
        _write(images[index], folder / "imagesTr" / f"patient_{index:03d}_0000.nii.gz", size)
        _write(masks[index], folder / "labelsTr" / f"patient_{index:03d}.nii.gz", size)
    write_json(folder / "dataset.json", {
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, "target": 1}, "numTraining": cases,
        "file_ending": ".nii.gz"})
    write_json(recipe, arguments)
    return folder


def _with_target(anatomies: Anatomies, radius: float) -> Anatomies:
    """The anatomies with a sphere of `radius` half-sides as their last object."""
    axis = torch.linspace(-1, 1, GRID)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1)
    fields = anatomies.fields.clone()
    fields[:, TARGET] = (points - torch.tensor(CENTRE)).norm(dim=-1) - radius
    return Anatomies(fields)


def _write(volume: Tensor, path: Path, size: Size) -> None:
    make_folder(path.parent)
    image = sitk.GetImageFromArray(volume.numpy())
    image.SetSpacing((WIDTH_MM / size.pixels, WIDTH_MM / size.pixels, SPACING_MM))
    sitk.WriteImage(image, str(path))
