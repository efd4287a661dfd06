"""What a segmentation says about each label of a case: volume, place, and the image's intensities inside."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import affine_mm, voxel_volume_ml
from samunet.dataset.labels import LabelSpace

Bounds = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class LabelStatistics:
    """One label, or region, of one case. Places are None where it has no voxel.

    Millimetres and millilitres are None in 2D files and sequences, which do not say how far slices are apart.

    Arguments:
        label, values: its name and the label values that it consists of.
        bbox_voxels: half-open bounds of its voxels' indices along z, y and x, the axes of the file's array.
        bbox_mm: the least and largest x, y and z of its voxels, their whole extent counted, in the patient's
            coordinates as ITK's and DICOM's: x grows to the left, y to the back, z to the head.
        centroid_mm: the mean x, y and z of its voxels' centres.
        mean, std: of each channel over its voxels; the standard deviation is the population's (divided by N). Empty
            without images.
    """

    label: str
    values: tuple[int, ...]
    voxels: int
    volume_ml: float | None
    bbox_voxels: Bounds | None
    bbox_mm: Bounds | None
    centroid_mm: tuple[float, ...] | None
    mean: tuple[float | None, ...]
    std: tuple[float | None, ...]


def label_statistics(
    segmentation: np.ndarray, geometry: Geometry, labels: LabelSpace, image: np.ndarray | None
) -> list[LabelStatistics]:
    """The statistics of every label above 0, or region, in dataset.json's order; voxels of the ignore label count in
    none.

    Arguments:
        segmentation: integer (Z, Y, X) on the grid `geometry`.
        image: float32 (C, Z, Y, X) on the same grid, or None.
    """
    made = []
    for label in labels.foreground:
        mask = labels.mask(segmentation, label)
        indices = np.array(np.nonzero(mask))
        voxels, voxel_ml = indices.shape[1], voxel_volume_ml(geometry)
        inside = [channel[mask].astype(np.float64) for channel in (() if image is None else image)]
        has_mm = not math.isnan(voxel_ml)
        made.append(LabelStatistics(
            label=labels.name_of(label),
            values=label if isinstance(label, tuple) else (label,),
            voxels=voxels,
            volume_ml=voxels * voxel_ml if has_mm else None,
            bbox_voxels=tuple((int(axis.min()), int(axis.max()) + 1) for axis in indices) if voxels else None,
            bbox_mm=_extent_mm(indices, geometry) if voxels and has_mm else None,
            centroid_mm=_centroid_mm(indices, geometry) if voxels and has_mm else None,
            mean=tuple(float(values.mean()) if voxels else None for values in inside),
            std=tuple(float(values.std()) if voxels else None for values in inside),
        ))
    return made


def _centroid_mm(indices: np.ndarray, geometry: Geometry) -> tuple[float, ...]:
    affine = affine_mm(geometry)
    return tuple((affine[:3, :3] @ indices.mean(1) + affine[:3, 3]).tolist())


def _extent_mm(indices: np.ndarray, geometry: Geometry) -> Bounds:
    """Least and largest x, y and z of voxels; each is a box of half a voxel around its centre, however the axes lie."""
    affine = affine_mm(geometry)
    half = np.abs(affine[:3, :3]).sum(1) / 2
    bounds = []
    for axis in range(3):
        centres = affine[axis, :3] @ indices + affine[axis, 3]
        bounds.append((float(centres.min() - half[axis]), float(centres.max() + half[axis])))
    return tuple(bounds)
