"""Distances between the surfaces of two masks: HD95, ASSD and NSD from one pass.

HD95 and NSD follow surface-distance (Nikolov et al., arXiv 1809.04430): surface elements are at voxel corners and are
weighted by their area. ASSD follows MedPy: unweighted, between the centres of border voxels (those with a face
neighbour outside the mask). Beyond the edge of the image everything is background.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from samunet.evaluation.nearest import nearest_distances_mm
from samunet.evaluation.surface_elements import element_sizes, neighbour_codes


@dataclass(frozen=True)
class SurfaceDistances:
    """From each surface element of one mask to the nearest one of the other, both sides sorted by distance.

    Distances in mm; sizes are areas in mm2 (3D) or contour lengths in mm (2D), in the order of the distances.
    """

    reference_mm: np.ndarray
    reference_sizes: np.ndarray
    prediction_mm: np.ndarray
    prediction_sizes: np.ndarray

    def hausdorff_mm(self, percent: float) -> float:
        """The larger of the two sides' distances that `percent` of its surface does not exceed."""
        reference_mm = _weighted_percentile(self.reference_mm, self.reference_sizes, percent)
        prediction_mm = _weighted_percentile(self.prediction_mm, self.prediction_sizes, percent)
        return max(reference_mm, prediction_mm)

    def surface_dice(self, tolerance_mm: float) -> float:
        """Share of both surfaces, 0 to 1, within `tolerance_mm` of the other (NSD)."""
        near = self.reference_sizes[self.reference_mm <= tolerance_mm].sum()
        near += self.prediction_sizes[self.prediction_mm <= tolerance_mm].sum()
        return float(near / (self.reference_sizes.sum() + self.prediction_sizes.sum()))


@dataclass(frozen=True)
class SurfaceMetrics:
    """HD95 and ASSD in mm, NSD from 0 to 1. Both masks empty: NaN. One empty: infinite distances, NSD 0."""

    hd95_mm: float
    assd_mm: float
    nsd: float


def surface_metrics(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float], tolerance_mm: float
) -> SurfaceMetrics:
    """All surface metrics of one pair of masks.

    Arguments:
        reference, prediction: boolean, same shape, (Z, Y, X) or (Y, X). With Z = 1 the metrics are those of the 2D
            contour, and the slice spacing plays no part.
        spacing_mm: one number an axis.
        tolerance_mm: distance up to which surfaces count as equal in NSD.
    """
    if reference.ndim == 3 and reference.shape[0] == 1:
        reference, prediction, spacing_mm = reference[0], prediction[0], spacing_mm[1:]
    has_reference, has_prediction = bool(reference.any()), bool(prediction.any())
    if not has_reference and not has_prediction:
        return SurfaceMetrics(math.nan, math.nan, math.nan)
    if not has_reference or not has_prediction:
        return SurfaceMetrics(math.inf, math.inf, 0.0)
    # Distances between objects need no voxel outside the box around both.
    box = ndimage.find_objects((reference | prediction).view(np.uint8), 1)[0]
    reference, prediction = reference[box], prediction[box]
    distances = surface_distances(reference, prediction, spacing_mm)
    assd_mm = average_symmetric_surface_distance_mm(reference, prediction, spacing_mm)
    return SurfaceMetrics(distances.hausdorff_mm(95), assd_mm, distances.surface_dice(tolerance_mm))


def surface_distances(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float]
) -> SurfaceDistances:
    """Distances between the surface elements of two masks, neither of them empty.

    Arguments:
        reference, prediction: boolean, same shape, (Z, Y, X) or (Y, X).
        spacing_mm: one number an axis.
    """
    spacing = tuple(float(value) for value in spacing_mm)
    sizes = element_sizes(spacing)
    reference_codes, prediction_codes = neighbour_codes(reference), neighbour_codes(prediction)
    inside = sizes.size - 1  # the code of a corner whose voxels all belong to the mask
    reference_surface = (reference_codes != 0) & (reference_codes != inside)
    prediction_surface = (prediction_codes != 0) & (prediction_codes != inside)
    to_prediction = nearest_distances_mm(reference_surface, prediction_surface, spacing)
    to_reference = nearest_distances_mm(prediction_surface, reference_surface, spacing)
    return SurfaceDistances(
        *_sorted(to_prediction, sizes[reference_codes[reference_surface]]),
        *_sorted(to_reference, sizes[prediction_codes[prediction_surface]]),
    )


def average_symmetric_surface_distance_mm(
    reference: np.ndarray, prediction: np.ndarray, spacing_mm: Sequence[float]
) -> float:
    """Mean distance over the border voxels of both masks, neither of them empty, to the other's nearest border voxel.

    Arguments as in `surface_distances`.
    """
    spacing = tuple(float(value) for value in spacing_mm)
    reference_border, prediction_border = _border(reference), _border(prediction)
    to_prediction = nearest_distances_mm(reference_border, prediction_border, spacing)
    to_reference = nearest_distances_mm(prediction_border, reference_border, spacing)
    return float((to_prediction.sum() + to_reference.sum()) / (to_prediction.size + to_reference.size))


def _border(mask: np.ndarray) -> np.ndarray:
    """The voxels of `mask` that have a face neighbour outside it."""
    padded = np.pad(mask, 1)
    inner = mask.copy()
    for axis in range(mask.ndim):
        for first in (0, 2):
            window = [slice(1, -1)] * mask.ndim
            window[axis] = slice(first, first + mask.shape[axis])
            inner &= padded[tuple(window)]
    border: np.ndarray = mask & ~inner
    return border


def _sorted(distances_mm: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(distances_mm, kind="stable")  # of equal distances any order will do, but the same everywhere
    return distances_mm[order], sizes[order]


def _weighted_percentile(distances_mm: np.ndarray, sizes: np.ndarray, percent: float) -> float:
    share = np.cumsum(sizes) / np.sum(sizes)
    index = int(np.searchsorted(share, percent / 100))
    return float(distances_mm[min(index, distances_mm.size - 1)])
