"""Remove connected components below a volume from a segmentation, class by class."""

from __future__ import annotations

import math

import numpy as np

from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import voxel_volume_ml
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError

ROUNDING = 1e-9  # of the number of voxels that have exactly the volume


def without_small_blobs(
    segmentation: np.ndarray, geometry: Geometry, labels: LabelSpace, smallest_ml: float, where: str
) -> np.ndarray:
    """A copy of `segmentation` integer (Z, Y, X) without the components of a class that are below `smallest_ml`.

    Voxels of one class that touch, also at a corner (26 neighbours), are a component; one of exactly `smallest_ml`
    stays. Removed voxels become background; with regions, the last painted of the regions that still hold them. Label
    values that are no class (ignore) are unchanged.

    Arguments:
        geometry: of the segmentation, for the volume of a voxel.
        where: the case, for messages.

    Raises:
        UserError: a 2D file or a sequence, which has no volumes.
    """
    from acvl_utils.morphology.morphology_helper import remove_components

    voxel_ml = voxel_volume_ml(geometry)
    if math.isnan(voxel_ml):
        raise UserError("Removing small components by their volume needs volumes.", where=where,
                        found="a 2D image or a sequence", mend="Predict without --remove_small_blobs.")
    least_voxels = math.ceil(smallest_ml / voxel_ml * (1 - ROUNDING))
    before = [labels.mask(segmentation, label) for label in labels.foreground]
    after = [remove_components(mask, least_voxels) for mask in before]
    cleaned = segmentation.copy()
    changed = np.logical_or.reduce([one != other for one, other in zip(before, after, strict=True)])
    if labels.has_regions:
        cleaned[changed] = labels.decode(np.stack([mask[changed] for mask in after]), threshold=0.5)
    else:
        cleaned[changed] = 0
    return cleaned
