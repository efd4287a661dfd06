"""Small datasets as the Medical Segmentation Decathlon and nnU-Net v1 have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from samunet.files import write_json

DIRECTION = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def write_image(path: Path, array: np.ndarray) -> None:
    """A NIfTI file of (Z, Y, X) or (C, Z, Y, X), turned by a quarter, with spacing and origin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array, isVector=False)
    fourth = array.ndim == 4
    image.SetSpacing((0.5, 0.75, 2.0, 7.0)[: array.ndim])
    image.SetOrigin((-3.0, 4.0, 5.5, 0.0)[: array.ndim])
    direction = np.eye(array.ndim)
    direction[:3, :3] = np.reshape(DIRECTION, (3, 3))
    image.SetDirection(direction.ravel().tolist())
    assert image.GetDimension() == (4 if fourth else 3)
    sitk.WriteImage(image, str(path))


def task(folder: Path, channels: int, **changes: Any) -> Path:
    """Task05_Two: two training cases and a test case of int16 voxels, with files whose names begin with `._` or `_`."""
    source = folder / "Task05_Two"
    shape = (channels, 3, 4, 5) if channels > 1 else (3, 4, 5)
    for number, name in enumerate(("imagesTr/a_1", "imagesTr/b", "imagesTs/c")):
        voxels = np.arange(np.prod(shape)).reshape(shape) + 1000 * number
        write_image(source / f"{name}.nii.gz", voxels.astype(np.int16))
        (source / name).with_name(f"._{Path(name).name}.nii.gz").write_bytes(b"macOS")
    for name in ("a_1", "b"):
        write_image(source / f"labelsTr/{name}.nii.gz", np.indices((3, 4, 5))[0].astype(np.uint8) % 2)
    (source / "labelsTr" / "._b.nii.gz").write_bytes(b"macOS")
    (source / "imagesTr" / "_old.nii.gz").write_bytes(b"no case, by its name")
    write_json(source / "dataset.json", description(channels) | changes)
    return source


def description(channels: int) -> dict[str, Any]:
    """The keys of a task's dataset.json."""
    return {"name": "Two", "description": "synthetic", "licence": "CC-BY-SA 4.0", "release": "1.0",
            "tensorImageSize": "4D", "modality": {str(number): f"MRI{number}" for number in range(channels)},
            "labels": {"0": "background", "1": "edge"}, "numTraining": 2, "numTest": 1,
            "training": [{"image": "./imagesTr/a_1.nii.gz", "label": "./labelsTr/a_1.nii.gz"}], "test": ["c"]}


def old_nnunet_task(folder: Path) -> Path:
    """The same cases as nnU-Net v1 has them, a file for each of two channels."""
    source = folder / "Task005_Two"
    for name in ("imagesTr/a_1", "imagesTr/b", "imagesTs/c"):
        for channel in range(2):
            write_image(source / f"{name}_{channel:04d}.nii.gz", np.full((3, 4, 5), channel, np.float32))
    for name in ("a_1", "b"):
        write_image(source / f"labelsTr/{name}.nii.gz", np.ones((3, 4, 5), np.uint8))
    write_json(source / "dataset.json", description(2))
    return source


def files_of(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder, by path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*")) if path.is_file()}
