"""Synthetic tumours among lookalikes, in nnU-Net's raw format, with boxes around them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from samunet.files import write_json
from samunet.inputs.boxes import jittered
from samunet.preprocessing.prompts.oracle import relaxed

SHAPE = (16, 48, 48)
LABELS = {"background": 0, "tumour": 1}
PLAIN, BOXED = "Dataset901_MadeTumour", "Dataset902_MadeTumourWithBox"
LOOKALIKES = 4
NOISE, TEXTURE, CONTRAST, CORE = 12.0, 5.0, 12.0, 8.0
RELAXED = (0, 5, 10)  # percent


def make_datasets(raw: Path, training: int, test: int, seed: int, core: float = CORE) -> None:
    """Write both datasets.

    A second channel of BOXED shows the box, in training moved at random as `3d_adapter_box` moves its own.

    In the same folder, for the test cases and each percent of RELAXED: `boxes<percent>.json`, a prompts file;
    `ellipsoids<percent>`, inscribed in those boxes; and imagesTs<percent> of BOXED.
    """
    boxes: dict[int, dict[str, Any]] = {percent: {} for percent in RELAXED}
    for index in range(training + test):
        name, random = f"made_{index:03d}", np.random.default_rng([seed, index])
        segmentation, image = made_case(random, core)
        box = tight(segmentation)
        kind = "Tr" if index < training else "Ts"
        for dataset in (PLAIN, BOXED):
            write(image, raw / dataset / f"images{kind}" / f"{name}_0000.nii.gz")
            write(segmentation, raw / dataset / f"labels{kind}" / f"{name}.nii.gz")
        if kind == "Tr":
            write(box_image(jittered(box, random)), raw / BOXED / "imagesTr" / f"{name}_0001.nii.gz")
            continue
        for percent in RELAXED:
            larger = relaxed(box[None], percent, (1, 1, 1), SHAPE)[0]
            folder = raw / BOXED / f"imagesTs{percent}"
            write(image, folder / f"{name}_0000.nii.gz")
            write(box_image(larger), folder / f"{name}_0001.nii.gz")
            write(ellipsoid(larger), raw / f"ellipsoids{percent}" / f"{name}.nii.gz")
            # The file counts from the middles of voxels, x first.
            ends = {"min": larger[0, ::-1].tolist(), "max": (larger[1, ::-1] - 1).tolist()}
            boxes[percent][name] = {"tumour": {"boxes": [ends]}}
    for percent, cases in boxes.items():
        write_json(raw / f"boxes{percent}.json", {"space": "voxel", "cases": cases})
    for dataset, channels in ((PLAIN, ("MRI",)), (BOXED, ("MRI", "noNorm"))):
        write_json(raw / dataset / "dataset.json", {
            "channel_names": dict(enumerate(channels)), "labels": LABELS, "numTraining": training,
            "file_ending": ".nii.gz"})


def made_case(random: np.random.Generator, core: float = CORE) -> tuple[np.ndarray, np.ndarray]:
    """A tumour's label uint8 and the image float32, (Z, Y, X); its core is `core` brighter than the rest of it."""
    levels: list[np.ndarray] = []
    while len(levels) <= LOOKALIKES:
        level = blob(random)
        if all(((level > 0) & (other > 0)).sum() == 0 for other in levels):
            levels.append(level)
    texture = gaussian_filter(random.standard_normal(SHAPE), 3)
    image = 100 + TEXTURE * texture / texture.std() + NOISE * random.standard_normal(SHAPE)
    for level in levels:
        image += CONTRAST * (level > 0)
    image += core * (levels[0] > 0.4)
    return (levels[0] > 0).astype(np.uint8), image.astype(np.float32)


def blob(random: np.random.Generator, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """Above 0 inside, 1 in the middle: an oblique ellipsoid with a bent surface, in a volume (Z, Y, X)."""
    radii = np.array([random.uniform(2.5, 4), random.uniform(3, 4.5), random.uniform(6, 9)])
    centre = [random.uniform(radius + 1, size - radius - 1)
              for radius, size in zip((radii[0], 6, 6), shape, strict=True)]
    grid = np.indices(shape, float) - np.reshape(centre, (3, 1, 1, 1))
    angle = random.uniform(0, np.pi)
    turned = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    distance = ((np.tensordot(turned, grid, 1) / radii.reshape(3, 1, 1, 1)) ** 2).sum(0)
    bend = gaussian_filter(random.standard_normal(shape), 2)
    return 1 - distance + 0.3 * bend / bend.std() * np.minimum(distance, 1)


def tight(segmentation: np.ndarray) -> np.ndarray:
    """The box (2, 3) around what is above 0, on the outer edges of its voxels."""
    voxels = np.argwhere(segmentation)
    return np.stack([voxels.min(0), voxels.max(0) + 1]).astype(float)


def box_image(box: np.ndarray) -> np.ndarray:
    """1 where a voxel's centre is in the box, float32."""
    middles = np.indices(SHAPE) + 0.5
    low, high = (end.reshape(3, 1, 1, 1) for end in box)
    return ((middles >= low) & (middles < high)).all(0).astype(np.float32)


def ellipsoid(box: np.ndarray) -> np.ndarray:
    """1 where a voxel's centre is in the ellipsoid inscribed in the box, uint8."""
    middle, radii = (box.mean(0).reshape(3, 1, 1, 1), ((box[1] - box[0]) / 2).reshape(3, 1, 1, 1))
    return ((((np.indices(SHAPE) + 0.5 - middle) / radii) ** 2).sum(0) <= 1).astype(np.uint8)


def write(array: np.ndarray, path: Path) -> None:
    """One NIfTI file of 1 mm voxels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
