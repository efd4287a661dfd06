"""The metrics of one case: voxel counts with Dice and IoU, surface distances and volume error, for every class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import UNANNOTATED, Label, LabelSpace
from samunet.evaluation.surface import surface_metrics


@dataclass(frozen=True)
class CaseMetrics:
    """Metrics of one case, by class key: "1", or "(1, 2)" for a region.

    overlap: nnU-Net's eight: Dice, IoU (floats), FN, FP, TN, TP, n_pred, n_ref (ints).
    surface: HD95_mm, ASSD_mm, NSD, volume_error_ml, absolute_volume_error_ml, relative_volume_error,
        absolute_relative_volume_error (floats; NaN undefined, infinity where one of the masks is empty).
    """

    overlap: dict[str, dict[str, Any]]
    surface: dict[str, dict[str, float]]


def case_metrics(
    reference: np.ndarray, prediction: np.ndarray, geometry: Geometry, labels: LabelSpace, tolerance_mm: float
) -> CaseMetrics:
    """Compare two segmentations on the same grid.

    Voxels with the reference's ignore label count on neither side.

    Arguments:
        reference, prediction: integer (Z, Y, X) label values.
        geometry: of the reference.
        tolerance_mm: of NSD.
    """
    counted = reference.size
    if labels.ignore is not None:
        valid = labels.valid(reference)
        counted = int(np.count_nonzero(valid))
        reference, prediction = np.where(valid, reference, UNANNOTATED), np.where(valid, prediction, UNANNOTATED)
    highest = max(labels.values)
    boxes = (ndimage.find_objects(reference, highest), ndimage.find_objects(prediction, highest))
    overlap, surface = {}, {}
    for label in labels.foreground:
        box = _box_around(label, boxes, reference.shape)
        masks = labels.mask(reference[box], label), labels.mask(prediction[box], label)
        counts = overlap_metrics(*masks, counted)
        overlap[str(label)] = counts
        surface[str(label)] = _surface_and_volume(*masks, counts, geometry, tolerance_mm)
    return CaseMetrics(overlap, surface)


def case_overlap(reference: np.ndarray, prediction: np.ndarray, labels: LabelSpace) -> dict[str, dict[str, Any]]:
    """`CaseMetrics.overlap` alone, for integer (Z, Y, X) label values on the same grid."""
    valid = labels.valid(reference)
    counted = int(np.count_nonzero(valid))
    return {str(label): overlap_metrics(labels.mask(reference, label) & valid, labels.mask(prediction, label) & valid,
                                        counted)
            for label in labels.foreground}


def overlap_metrics(reference: np.ndarray, prediction: np.ndarray, counted: int) -> dict[str, Any]:
    """nnU-Net's eight metrics of two boolean masks, which may be cropped; `counted` is the number of all valid voxels.

    Both empty: Dice and IoU are NaN.
    """
    n_ref, n_pred = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
    tp = int(np.count_nonzero(reference & prediction))
    fp, fn = n_pred - tp, n_ref - tp
    union = tp + fp + fn
    return {
        "Dice": 2 * tp / (2 * tp + fp + fn) if union else math.nan,
        "IoU": tp / union if union else math.nan,
        "FP": fp,
        "TP": tp,
        "FN": fn,
        "TN": counted - union,
        "n_pred": n_pred,
        "n_ref": n_ref,
    }


def _surface_and_volume(
    reference: np.ndarray,
    prediction: np.ndarray,
    counts: dict[str, Any],
    geometry: Geometry,
    tolerance_mm: float,
) -> dict[str, float]:
    surface = surface_metrics(reference, prediction, geometry.spacing_mm, tolerance_mm)
    error_ml, relative = volume_errors(counts["n_ref"], counts["n_pred"], geometry)
    return {
        "HD95_mm": surface.hd95_mm,
        "ASSD_mm": surface.assd_mm,
        "NSD": surface.nsd,
        "volume_error_ml": error_ml,
        "absolute_volume_error_ml": abs(error_ml),
        "relative_volume_error": relative,
        "absolute_relative_volume_error": abs(relative),
    }


def volume_errors(n_ref: int, n_pred: int, geometry: Geometry) -> tuple[float, float]:
    """Predicted minus reference volume: in ml, and as a share of the reference.

    Both empty: NaN. Only the reference empty: the share is infinite. 2D files have no volume: NaN ml.
    """
    if n_ref == 0 and n_pred == 0:
        return math.nan, math.nan
    voxel_ml = math.nan if geometry.is_2d else math.prod(geometry.spacing_mm) / 1000
    return (n_pred - n_ref) * voxel_ml, (n_pred - n_ref) / n_ref if n_ref else math.inf


def _box_around(label: Label, boxes: tuple[list[Any], list[Any]], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The smallest box that holds every voxel of `label` in both segmentations; one voxel if there is none.

    In a volume it has at least two slices: a single one would be measured as a 2D contour.
    """
    values = label if isinstance(label, tuple) else (label,)
    if 0 in values:
        return tuple(slice(0, size) for size in shape)
    found = [side[value - 1] for side in boxes for value in values if side[value - 1] is not None]
    if not found:
        return tuple(slice(0, 1) for _ in shape)
    slices, *plane = (slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*found, strict=True))
    first = max(min(slices.start, shape[0] - 2), 0)
    return slice(first, min(max(slices.stop, first + 2), shape[0])), *plane
