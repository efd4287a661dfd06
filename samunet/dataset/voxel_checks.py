"""What every reader-writer checks about the voxels it reads, in one place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from samunet.errors import UserError, joined

LABEL_DTYPE = np.dtype(np.int16)


def require_file(path: Path) -> None:
    """Raise a UserError where `path` is no file."""
    if not os.path.isfile(path):  # Path.is_file raises for names that are too long
        raise UserError("Every listed image or label file must exist.", where=path, found="no such file",
                        mend="Restore it, or remove its case from the dataset.")


def cannot_read(path: Path, fault: Exception) -> UserError:
    """The error for a file whose content is damaged or of another format."""
    text = " ".join(str(fault).split())
    return UserError(
        "An image or label file must be readable: whole, and of the format that its ending says.",
        where=path,
        found=text[-300:],
        mend="Copy or convert the file again; it may be truncated.",
    )


def as_image(
    arrays: Sequence[np.ndarray], paths: Sequence[Path], spacings_mm: Sequence[Sequence[float]],
    others: Sequence[UserError] = ()
) -> np.ndarray:
    """Stack one case's files, each (c, Z, Y, X) of any real type, to float32 (C, Z, Y, X).

    Raises:
        UserError: NaN or Inf in a file, another shape or spacing than the first file's, and `others`; all of them
            together.
    """
    problems = [*others]
    stacked: list[np.ndarray] = []
    for array, path, spacing_mm in zip(arrays, paths, spacings_mm, strict=True):
        if array.shape[1:] != arrays[0].shape[1:]:
            problems.append(UserError(
                "All channels of a case must have the same shape.", where=path,
                found=f"{array.shape[1:]}; {Path(paths[0]).name} has {arrays[0].shape[1:]} (z, y, x)",
                mend="Resample the channels onto one grid.",
            ))
        if not np.allclose(spacing_mm, spacings_mm[0]):
            problems.append(UserError(
                "All channels of a case must have the same spacing.", where=path,
                found=f"{tuple(spacing_mm)} mm; {Path(paths[0]).name} has {tuple(spacings_mm[0])} mm (z, y, x)",
                mend="Resample the channels onto one grid, or correct the header.",
            ))
        if fault := _not_real(array, path):
            raise fault
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes Inf and is reported below
            stacked.append(array.astype(np.float32, copy=False))
        problems.extend(_not_finite(stacked[-1], path))
    if problems:
        raise joined(problems)
    return np.ascontiguousarray(np.concatenate(stacked))


def as_segmentation(array: np.ndarray, path: Path) -> np.ndarray:
    """A label file's array (C, Z, Y, X) of any type as int16 (1, Z, Y, X).

    Raises:
        UserError: more than one channel, values that are no whole numbers (NaN among them) or do not fit int16.
    """
    if len(array) != 1:
        raise UserError(
            "A label file must hold one value for each voxel: 3D, or 2D, without channels or time.", where=path,
            found=f"{len(array)} channels of shape {array.shape[1:]}",
            mend="Save one label map (a grey image, not a colour one).",
        )
    if fault := _not_real(array, path):
        raise fault
    if array.dtype.kind == "f":
        fractional = array[array != np.rint(array)]
        if fractional.size:
            raise UserError(
                "Label values must be whole numbers.", where=path,
                found=f"{fractional.size} voxels such as {float(fractional[0])}",
                mend="Resample labels with nearest neighbours, and save them as integers.",
            )
    limits = np.iinfo(LABEL_DTYPE)
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if low < limits.min or high > limits.max:
        raise UserError(
            f"Label values must be between 0 and {limits.max}.", where=path, found=f"values from {low} to {high}",
            mend="Renumber the labels to consecutive integers from 0.",
        )
    return np.ascontiguousarray(array.astype(LABEL_DTYPE))


def for_writing(segmentation: np.ndarray) -> np.ndarray:
    """Integer segmentation in the type in which it is written: uint8 or uint16."""
    if segmentation.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(segmentation)
    small = segmentation.max(initial=0) < 255
    return np.ascontiguousarray(segmentation.astype(np.uint8 if small else np.uint16))


def _not_real(array: np.ndarray, path: Path) -> UserError | None:
    """The error for voxels that are not real numbers, which a conversion would truncate."""
    if array.dtype.kind in "biuf":
        return None
    return UserError("Voxels must be real numbers.", where=path, found=f"type {array.dtype}",
                     mend="Save the magnitude, or real and imaginary part as channels.")


def _not_finite(array: np.ndarray, path: Path) -> list[UserError]:
    if np.isfinite(array.sum(dtype=np.float64)):  # one pass without masks; a float64 sum of float32 cannot overflow
        return []
    counts = {"NaN": int(np.isnan(array).sum()), "Inf": int(np.isinf(array).sum())}
    return [
        UserError(
            f"Images must not hold {name}.", where=path, found=f"{count} voxels are {name}",
            mend="Replace them by a meaningful value, for example the image's minimum.",
        )
        for name, count in counts.items() if count
    ]
