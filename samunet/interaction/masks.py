"""Label maps that a session takes: files and arrays, checked against its image and labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from samunet.dataset.alignment import SEGMENTATION
from samunet.dataset.labels import LabelSpace
from samunet.dataset.segmentations import read_on_grid, value_problems
from samunet.errors import UserError, joined
from samunet.interaction.image import ARRAY, SessionImage


def read_mask(path: Path, image: SessionImage, labels: LabelSpace) -> np.ndarray:
    """The label map in a file, of the label space's integer type (Z, Y, X), on the image's grid.

    Raises:
        UserError: a file that cannot be read, another grid, unknown labels or the ignore label.
    """
    values, problems = read_on_grid(image.geometry.reader, path, image.geometry, image.place, labels, SEGMENTATION)
    if problems:
        raise joined(problems)
    return _without_ignore(values[0], labels, path)


def checked_mask(mask: np.ndarray, image: SessionImage, labels: LabelSpace) -> np.ndarray:
    """The label map in an array of whole numbers or bool, (Z, Y, X) or (Y, X) of a 2D image; see `read_mask`."""
    shape = image.shape
    if mask.shape not in (shape, shape[1:] if shape[0] == 1 else shape) or mask.dtype.kind not in "biu":
        raise UserError("A mask must be whole numbers of the image's shape (z, y, x).", where=ARRAY,
                        found=f"{mask.dtype} of shape {mask.shape}, image of {shape}")
    values = mask.reshape(shape).astype(np.uint8) if mask.dtype.kind == "b" else mask.reshape(shape)
    if problems := value_problems(values, labels, ARRAY):
        raise joined(problems)
    return _without_ignore(values, labels, ARRAY)


def _without_ignore(values: np.ndarray, labels: LabelSpace, path: Path) -> np.ndarray:
    if labels.ignore is not None and (values == labels.ignore).any():
        raise UserError("A mask to start from must not hold the ignore label.", where=path, found=str(labels.ignore),
                        mend="Set these voxels to background, or to a label.")
    return np.asarray(values).astype(labels.dtype)
