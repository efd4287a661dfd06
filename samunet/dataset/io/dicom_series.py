"""A folder with the files of one DICOM series as a volume of one channel: sorted by position, checked, rescaled."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from samunet.dataset.geometry import Geometry
from samunet.dataset.grid_checks import check_grid
from samunet.dataset.io.dicom_files import headers, read_frames
from samunet.dataset.io.dicom_planes import Plane, planes_of
from samunet.errors import UserError, joined, some

# Slices agree in orientation or spacing up to rounding: cosines have six decimals, spacings are text.
ROUNDING = 1e-4
# A slice may be displaced within its plane by this share of a pixel, and by a tilt that `grid_checks` would not report.
DISPLACED_PIXELS, TILT_DEGREES = 0.1, 0.1
# The share of the slice distance by which a slice may be away from even steps: scanners round positions to 0.1 mm.
UNEVEN_STEPS = 0.1
SAME_PLACE_MM = 1e-3  # two slices that are closer are the same place
ONE_SERIES = "A folder of a case must hold one DICOM series: {}."
SPLIT = "Put each series, time point or echo into a folder of its own; move localizers out."


def read_series(folder: Path, reader: str) -> tuple[np.ndarray, Geometry]:
    """Intensities float32 (1, Z, Y, X) of a series, rescaled by each slice's slope and intercept, and its grid.

    Raises:
        UserError: see `sorted_planes`; voxels that cannot be decoded.
    """
    planes, geometry = sorted_planes(folder, reader)
    image = np.empty(geometry.shape, np.float32)
    by_file: dict[Path, list[int]] = {}
    for place, plane in enumerate(planes):
        by_file.setdefault(plane.path, []).append(place)
    for path, places in by_file.items():
        stored = read_frames(path, [planes[place].frame for place in places])
        for place, frame in zip(places, stored, strict=True):
            image[place] = frame * np.float64(planes[place].slope) + planes[place].intercept
    return image[None], geometry


def sorted_planes(folder: Path, reader: str) -> tuple[list[Plane], Geometry]:
    """The slices of a series in the order of their positions along the normal, and the grid; no voxel is read.

    The normal is the cross product of a row's and a column's direction, so grids are right-handed; names of files and
    numbers of instances do not count. The slice distance is the mean distance of the positions; a single slice takes
    what its header says.

    Arguments:
        reader: name of the reader-writer that writes results on this grid.

    Raises:
        UserError: a file that is no grey image with a geometry; several series, enhanced files, frames of reference,
            sizes, orientations or spacings; slices that are displaced against each other (a tilted gantry), two at one
            place, uneven distances (missing slices).
    """
    files = headers(folder)
    enhanced = [path.name for path, header in files if "PerFrameFunctionalGroupsSequence" in header]
    if enhanced and len(files) > 1:
        raise UserError(ONE_SERIES.format("one enhanced file, or files of one slice"), where=folder,
                        found=f"{len(files)} files, enhanced: {some(enhanced)}", mend=SPLIT)
    planes = [plane for path, header in files for plane in planes_of(path, header)]
    if problems := _mixed(planes, folder):
        raise joined(problems)
    row, column = np.array(planes[0].row), np.array(planes[0].column)
    normal = np.cross(row, column)
    along = np.array([plane.position for plane in planes]) @ normal
    order = np.argsort(along, kind="stable")
    planes, along = [planes[place] for place in order], along[order]
    step_mm = _step_mm(planes, along, normal, folder)
    geometry = Geometry(reader, (len(planes), *planes[0].shape), (step_mm, *planes[0].spacing_mm),  # type: ignore[arg-type]
                        tuple(planes[0].position), tuple(np.column_stack([row, column, normal]).ravel().tolist()))
    check_grid(geometry, folder)
    return planes, geometry


def _mixed(planes: Sequence[Plane], folder: Path) -> list[UserError]:
    """What all slices must share; one error for each attribute in which they differ."""
    checks: list[tuple[str, Callable[[Plane], Any]]] = [
        ("one SeriesInstanceUID", lambda plane: plane.series),
        ("one FrameOfReferenceUID", lambda plane: plane.frame_of_reference),
        ("one size of the slices (rows x columns)", lambda plane: plane.shape),
        ("one PixelSpacing", lambda plane: _rounded(plane.spacing_mm, planes[0].spacing_mm)),
        ("one ImageOrientationPatient", lambda plane: _rounded(plane.row + plane.column,
                                                               planes[0].row + planes[0].column)),
    ]
    problems = []
    for rule, value_of in checks:
        counts = Counter(map(value_of, planes))
        if len(counts) > 1:
            listed = [f"{count} slices of {value}" for value, count in counts.most_common()]
            problems.append(UserError(ONE_SERIES.format(rule), where=folder, found=some(listed), mend=SPLIT))
    if not planes[0].frame_of_reference:
        problems.append(UserError(ONE_SERIES.format("one FrameOfReferenceUID"), where=folder, found="none",
                                  mend="Export the series again with its frame of reference."))
    return problems


def _rounded(values: tuple[float, ...], usual: tuple[float, ...]) -> tuple[float, ...]:
    """`usual` where `values` agree with it up to rounding."""
    return usual if np.allclose(values, usual, rtol=ROUNDING, atol=ROUNDING) else values


def _step_mm(planes: Sequence[Plane], along: np.ndarray, normal: np.ndarray, folder: Path) -> float:
    """The slice distance of sorted slices, whose distances `along` the normal are in mm."""
    if len(planes) == 1:
        if not planes[0].step_mm:
            raise UserError("A DICOM series of one slice must have a SliceThickness.", where=folder,
                            found="neither SpacingBetweenSlices nor SliceThickness",
                            mend="Export the series again, with all slices if there are more.")
        return planes[0].step_mm
    _require_distinct(planes, along, folder)
    _require_straight(planes, along, normal, folder)
    step = float(along[-1] - along[0]) / (len(along) - 1)
    _require_even(planes, along, step, folder)
    return step


def _require_distinct(planes: Sequence[Plane], along: np.ndarray, folder: Path) -> None:
    if (doubles := np.flatnonzero(np.diff(along) < SAME_PLACE_MM)).size:
        names = [f"{_name(planes[place])} and {_name(planes[place + 1])}" for place in doubles.tolist()]
        raise UserError("No two slices of a DICOM series may be at one place.", where=folder,
                        found=f"{doubles.size} of {len(planes)} are at the place of another: {some(names)}",
                        mend=f"Remove copies. {SPLIT}")


def _require_straight(planes: Sequence[Plane], along: np.ndarray, normal: np.ndarray, folder: Path) -> None:
    """Slices must be stacked along their normal; the voxels of a tilted gantry's are on no rectangular grid."""
    positions = np.array([plane.position for plane in planes])
    distance = along - along[0]
    displaced = np.linalg.norm(positions - positions[0] - distance[:, None] * normal, axis=1)
    allowed = DISPLACED_PIXELS * min(planes[0].spacing_mm) + math.tan(math.radians(TILT_DEGREES)) * distance
    if (displaced > allowed).any():
        worst = int((displaced - allowed).argmax())
        degrees = math.degrees(math.atan2(displaced[worst], distance[worst]))
        raise UserError("The slices of a DICOM series must be stacked at right angles to their planes.", where=folder,
                        found=f"{_name(planes[worst])} is displaced by {displaced[worst]:.3g} mm within its plane: a "
                              f"gantry tilted by {degrees:.1f} degrees, or slices of several scans",
                        mend="Resample the series onto a rectangular grid (dcm2niix does so for a tilted CT gantry) "
                             "and name the NIfTI file.")


def _require_even(planes: Sequence[Plane], along: np.ndarray, step: float, folder: Path) -> None:
    even = along[0] + step * np.arange(len(along))
    if np.abs(along - even).max() <= UNEVEN_STEPS * step:
        return
    gaps, usual = np.diff(along), float(np.median(np.diff(along)))
    odd = np.flatnonzero(np.abs(gaps - usual) > UNEVEN_STEPS * usual).tolist()
    named = [f"{gaps[place]:.3g} mm between {_name(planes[place])} and {_name(planes[place + 1])}" for place in odd]
    raise UserError("The slices of a DICOM series must be at even distances, without gaps.", where=folder,
                    found=f"usually {usual:.3g} mm, but {some(named) or 'growing from slice to slice'}",
                    mend="Fetch the missing slices, or resample the series onto even distances.")


def _name(plane: Plane) -> str:
    return plane.path.name + (f" frame {plane.frame + 1}" if plane.frame else "")
