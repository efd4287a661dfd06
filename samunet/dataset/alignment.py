"""Bring an array onto the grid of another file: unchanged, permuted and flipped, with a warning, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from samunet.console import say_once
from samunet.dataset.case_paths import SEQUENCE_READERS
from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import (
    corner_distance_mm,
    corner_distance_voxels,
    only_shifted,
    same_grid,
    same_spacing,
    turn_between,
)
from samunet.errors import UserError

LABEL = "A label file must have its image's {}."
SEGMENTATION = "A segmentation must have its image's {}."
PREDICTION = "A prediction must have its reference's {}."
CHANNEL = "All channels of a case must have the same {}."


def on_grid(
    array: np.ndarray, found: Geometry, wanted: Geometry, path: Path, other: Path, rule: str
) -> tuple[np.ndarray, list[UserError]]:
    """`array` (..., Z, Y, X) of the file `path`, whose grid is `found`, on the grid `wanted` of the file `other`.

    Grids that agree to a hundredth of a voxel are the same. Where only the order or the direction of the axes differs,
    voxels are permuted and flipped, without interpolation. Where only the origin differs, or the direction by less than
    half a voxel at every corner, voxels are matched by their index, as in nnU-Net, with a warning. Every other grid is
    a problem.

    Arguments:
        rule: LABEL, SEGMENTATION, PREDICTION or CHANNEL.

    Returns:
        A permuted or flipped view, or the array itself; and the problems.
    """
    if same_grid(wanted, found):
        return array, []
    if turn := turn_between(found, wanted):
        say_once(f"{path} is stored in another direction than {other}: its axes are permuted or "
                 "flipped, without interpolation.")
        return turn.apply(array), []
    if found.shape != wanted.shape:
        return array, _other_shape(found, wanted, path, other, rule)
    if only_shifted(wanted, found):
        say_once(f"Warning: origin or direction of {path} differs from that of {other}: {_apart(found, wanted)}. "
                 "Voxels are matched by their index; check with samunet_plot_overlay_pngs that they fit.")
        return array, []
    return array, [_other_place(found, wanted, path, other, rule)]


def on_first_grid(
    arrays: Sequence[np.ndarray], geometries: Sequence[Geometry], paths: Sequence[Path]
) -> tuple[list[np.ndarray], list[UserError]]:
    """The files of a case, each (c, Z, Y, X), on the grid of the first, and the problems of the others.

    Another shape is no problem here: `as_image` reports it with the case's other problems.
    """
    placed, problems = [], []
    for array, geometry, path in zip(arrays, geometries, paths, strict=True):
        array, found = on_grid(array, geometry, geometries[0], path, paths[0], CHANNEL)
        placed.append(array)
        problems += found if geometry.shape == geometries[0].shape else []
    return placed, problems


def _other_shape(found: Geometry, wanted: Geometry, path: Path, other: Path, rule: str) -> list[UserError]:
    mend = ("Give a label frame of its size for each of its frames." if wanted.reader in SEQUENCE_READERS
            else "Resample it onto that grid.")
    problems = [UserError(rule.format("shape"), where=path,
                          found=f"{found.shape}; {other} has {wanted.shape} (z, y, x)", mend=mend)]
    if not same_spacing(found, wanted):
        problems.append(UserError(rule.format("spacing"), where=path, found=_spacings(found, wanted, other), mend=mend))
    return problems


def _other_place(found: Geometry, wanted: Geometry, path: Path, other: Path, rule: str) -> UserError:
    if same_spacing(found, wanted):
        differing, values = "direction", f"{_numbers(found.direction)}; {other} has {_numbers(wanted.direction)}"
    else:
        differing, values = "spacing", _spacings(found, wanted, other)
    return UserError(rule.format(differing), where=path, found=f"{values}; {_apart(found, wanted)}",
                     mend="Resample it onto that grid, or correct the header that is wrong.")


def _spacings(found: Geometry, wanted: Geometry, other: Path) -> str:
    return f"{found.spacing_mm} mm; {other} has {wanted.spacing_mm} mm (z, y, x)"


def _apart(found: Geometry, wanted: Geometry) -> str:
    voxels = corner_distance_voxels(wanted, found)
    return f"corners are up to {corner_distance_mm(wanted, found):.3g} mm ({voxels:.3g} voxels) apart"


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{round(value, 4) + 0:g}" for value in values)
