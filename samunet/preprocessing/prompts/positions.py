"""Where places in a case's image file are on the plan's grid, and masks that prompts start from."""

from __future__ import annotations

import numpy as np

from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import affine_mm
from samunet.dataset.labels import LabelSpace
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import CaseProperties
from samunet.preprocessing.resample import nearest_indices


def voxels_of_world(places_mm: np.ndarray, geometry: Geometry) -> np.ndarray:
    """World positions in mm -> indices of voxels, both float64 (N, 3) as (x, y, z).

    World is ITK's: x to the patient's left, y to the back, z to the head (LPS), as SimpleITK's
    `TransformIndexToPhysicalPoint` gives it. Whole indices are the middles of voxels. In a 2D file z is 0, in both.

    Arguments:
        geometry: of a file that knows its place in the world, which TIFF and natural images do not.
    """
    dimensions = len(geometry.origin)
    origin, direction = np.zeros(3), np.eye(3)
    origin[:dimensions] = geometry.origin
    direction[:dimensions, :dimensions] = np.reshape(geometry.direction, (dimensions, dimensions))
    return np.linalg.solve(direction, (places_mm - origin).T).T / geometry.spacing_mm[::-1]


def voxels_of_file(places: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Indices of voxels in the file -> in the arrays, which a reader may have turned; float64 (N, 3) as (x, y, z)."""
    if geometry.file is None:
        return places
    to_array = np.linalg.solve(affine_mm(geometry), affine_mm(geometry.file))
    return (places[:, ::-1] @ to_array[:3, :3].T + to_array[:3, 3])[:, ::-1]


def plan_positions(voxels: np.ndarray, properties: CaseProperties, dataset_plan: DatasetPlan) -> np.ndarray:
    """Indices (x, y, z) in the reader's array -> positions (z, y, x) on the plan's grid, both float64 (N, 3).

    The way of the arrays: transpose, crop, resample with the grids' outer edges aligned. Whole indices are the middles
    of voxels; on the plan's grid voxel i spans [i, i + 1). What was cropped away gets positions outside
    `properties.shape`.
    """
    planned = (voxels[:, ::-1] + 0.5)[:, list(dataset_plan.transpose_forward)]
    cropped = planned - [low for low, _ in properties.bbox]
    return cropped * np.divide(properties.shape, properties.shape_after_cropping)


def points_inside(points: np.ndarray, properties: CaseProperties) -> np.ndarray:
    """Whether positions (N, 3) on the plan's grid are in the case, bool (N,)."""
    inside: np.ndarray = ((points >= 0) & (points < properties.shape)).all(1)
    return inside


def boxes_meet(boxes: np.ndarray, properties: CaseProperties) -> np.ndarray:
    """Whether boxes (M, 2, 3) on the plan's grid, not cut to the case, have a part of it, bool (M,).

    A box may be flat along the slice axis: it then belongs to one slice.
    """
    cut = np.clip(boxes, 0, properties.shape)
    in_plane: np.ndarray = (cut[:, 1, 1:] > cut[:, 0, 1:]).all(1)
    return in_plane & (boxes[:, 1, 0] > 0) & (boxes[:, 0, 0] < properties.shape[0])


def plan_masks(
    segmentation: np.ndarray, properties: CaseProperties, dataset_plan: DatasetPlan, labels: LabelSpace
) -> np.ndarray:
    """A label map (Z, Y, X) on the image's grid -> bool (F, Z, Y, X), each foreground label's mask on the plan's grid.

    The way of the arrays, with the nearest voxel along each axis; what was cropped away is lost.
    """
    cropped = segmentation.transpose(dataset_plan.transpose_forward)[
        tuple(slice(low, high) for low, high in properties.bbox)]
    nearest = [nearest_indices(*sizes) for sizes in zip(cropped.shape, properties.shape, strict=True)]
    placed = cropped[np.ix_(*nearest)]
    return np.stack([labels.mask(placed, label) for label in labels.foreground])
