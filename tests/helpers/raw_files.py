"""Raw cases that tests write, and a plan for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from samunet.dataset.dataset import RawCase
from samunet.dataset.labels import LabelSpace
from samunet.planning.plans import DatasetPlan

LABELS = LabelSpace({"background": 0, "one": 1, "two": 2})
STATISTICS = {"mean": 40.0, "median": 40.0, "std": 25.0, "min": -900.0, "max": 900.0,
              "percentile_00_5": -80.0, "percentile_99_5": 140.0}
DIRECTION = (0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def write(path: Path, array: np.ndarray, spacing_mm=(1.0, 1.0, 1.0)) -> Path:
    """Write `array` (Z, Y, X) with spacing (z, y, x) and an origin and direction that are not the default."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(value) for value in spacing_mm[::-1]])
    image.SetOrigin((12.5, -30.25, 7.0))
    image.SetDirection(DIRECTION)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def plan(**changes) -> DatasetPlan:
    values = {
        "reader": "SimpleITKIO", "transpose_forward": (0, 1, 2), "transpose_backward": (0, 1, 2),
        "spacing_mm": (1.0, 1.0, 1.0), "median_shape": (10, 10, 10), "anisotropic": False, "channel_names": ("MR",),
        "normalization": ("nonorm",), "use_mask_for_norm": (False,), "foreground_intensity": ({},),
    }
    return DatasetPlan(**{**values, **changes})


def blob(shape, seed: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Channels of noise on a smooth ramp with a zero border and a zero hole, and labels 0..2 inside it."""
    random = np.random.default_rng([7, seed])
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij"))
    inside = (grid**4).sum(0) < 0.7  # rounded, so that its box has corners outside the mask
    image = 60 + 40 * grid.sum(0) + random.normal(0, 25, (channels, *shape))
    image = np.where(inside, image, 0).astype(np.float32)
    image[:, shape[0] // 2, shape[1] // 2, shape[2] // 2] = 0  # a hole, filled by the mask
    image[0, :, : shape[1] // 4] = 0  # channels have different borders; the mask is their union
    radius = np.sqrt((grid**2).sum(0))
    label = np.where(radius < 0.3, 2, np.where(radius < 0.6, 1, 0)).astype(np.uint8)
    return image, np.where((image != 0).any(0), label, 0).astype(np.uint8)


def raw_case(folder: Path, image: np.ndarray, label: np.ndarray | None, spacing_mm, name: str = "case") -> RawCase:
    images = tuple(write(folder / f"{name}_{index:04d}.nii.gz", channel, spacing_mm)
                   for index, channel in enumerate(image))
    return RawCase(name, images, write(folder / f"{name}.nii.gz", label, spacing_mm) if label is not None else None)
