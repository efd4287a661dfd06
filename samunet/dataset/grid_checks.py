"""What every reader checks about the grid of a file, before anything is computed from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from samunet.console import say_once
from samunet.dataset.geometry import Geometry
from samunet.errors import UserError

MIN_SPACING_MM, MAX_SPACING_MM = 1e-3, 1e4
MAX_ORIGIN_MM = 1e6
COSINE_ERROR = 1e-2  # of the length of a direction, written as text with few digits
LEAST_DETERMINANT = 0.1  # of the directions; below it the axes of a grid are nearly in one plane
SEEN_SHEAR = math.sin(math.radians(0.1))


def check_spacing(spacing_mm: Sequence[float], path: Path) -> None:
    """Raise a UserError if a spacing (in mm, of the file's axes x, y, z) is out of bounds or not a number."""
    if not all(MIN_SPACING_MM <= value <= MAX_SPACING_MM for value in spacing_mm):  # NaN compares as False
        raise UserError(
            f"The spacing of an image or label file must be between {MIN_SPACING_MM:g} and {MAX_SPACING_MM:g} mm.",
            where=path,
            found=f"{tuple(float(value) for value in spacing_mm)} mm (x, y, z)",
            mend="Correct the spacing in the header, and the unit that it names.",
        )


def check_grid(geometry: Geometry, path: Path) -> None:
    """Check the grid that a reader found in the header of `path`, in a format with origin and direction.

    Axes that are not perpendicular, as of a tilted gantry, are used as they are, with a warning.

    Raises:
        UserError: a spacing out of bounds, an origin that is far away or not finite, directions that are not of length
            1 or not independent.
    """
    space = len(geometry.origin)
    check_spacing(geometry.spacing_mm[::-1][:space], path)
    if not all(abs(value) <= MAX_ORIGIN_MM for value in geometry.origin):
        raise UserError(f"The origin of an image or label file must be within {MAX_ORIGIN_MM:g} mm of 0.", where=path,
                        found=f"{geometry.origin} mm", mend="Correct the origin in the header.")
    direction = np.reshape(geometry.direction, (space, space))
    products = direction.T @ direction
    if (not np.abs(np.diag(products) - 1).max() <= COSINE_ERROR
        or not abs(np.linalg.det(direction)) >= LEAST_DETERMINANT):
        raise UserError("The axes of an image or label file must have independent directions of length 1.",
                        where=path,
                        found=f"directions {direction.T.round(4).tolist()}",
                        mend="Correct the direction (affine) in the header.")
    shear = float(np.abs(products - np.diag(np.diag(products))).max())
    if shear > SEEN_SHEAR:
        say_once(f"Warning: the axes of {path} are not orthonormal: they differ from a right angle by up to "
            f"{math.degrees(math.asin(min(shear, 1.0))):.1f} degrees. Distances and volumes are computed as if they "
            "were.")
