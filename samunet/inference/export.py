"""From logits on the plan's grid to labels on the file's own grid, slice by slice.

Each slice of the plan's grid is interpolated in-plane once, at most two of them are in memory, and each slice of the
file's grid is blended from them and decoded immediately. So memory is that of the label map and a few slices, for any
number of classes, and the result does not depend on how the logits are cut into slabs. Where memory is short, a slice
is made in bands of rows (`inference.export_memory`), which gives the same values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.inference.export_memory import Needs, bands_of, memory_errors
from samunet.inference.interpolation import AxisMap, blend
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import CaseProperties
from samunet.preprocessing.resample import separate_axis
from samunet.variants.sliding_window import Slab


@dataclass(frozen=True)
class Exported:
    """`segmentation` (Z, Y, X), the label space's integer type; `probabilities` float32 (K, Z, Y, X); the file's axes.
    """

    segmentation: np.ndarray
    probabilities: np.ndarray | None


def export_case(
    slabs: Iterable[Slab],
    properties: CaseProperties,
    dataset_plan: DatasetPlan,
    labels: LabelSpace,
    *,
    with_probabilities: bool = False,
    temperature: float = 1.0,
) -> Exported:
    """Bring a case's logits back to the grid of its files: resample, decode, undo the crop, undo the transpose.

    The rule is nnU-Net's (export_prediction.py, 2.8.1): logits are interpolated linearly; where spacings are
    anisotropic, the coarse axis takes the nearest slice. Outside the crop everything is background. Labels are decoded
    from the logits, with probabilities or without, so that the segmentation is the same.

    Arguments:
        slabs: (first slice, finite logits float32 (K, dz, Y, X)) on the plan's grid, every slice once, in order.
        properties: of the prepared case.
        with_probabilities: also return all probabilities, the only part that needs K volumes in memory.
        temperature: above 0; the probabilities are of the logits divided by it. Labels do not depend on it.

    Raises:
        ValueError: slabs that are out of order, end early or have another shape than the case.
        UserError: slabs that are not finite. Weights are finite, so the image makes the network overflow. Or, before
            the first slab is taken, memory that cannot hold the label map and a row of a slice.
        MemoryError: the network does not fit into what is left.
    """
    maps = axis_maps(properties, dataset_plan)
    needs = Needs.of(properties, labels, with_probabilities)
    planes = _Planes(slabs, (labels.channels, *properties.shape[1:]), maps[1], maps[2], properties.name,
                     bands_of(needs, properties.shape_after_cropping[1], properties.name))
    file_shape = [properties.shape_before_cropping[axis] for axis in dataset_plan.transpose_backward]
    segmentation = np.zeros(file_shape, labels.dtype)
    # Written through a view with the plan's axes, so that undoing the transpose costs no second volume.
    target = segmentation.transpose(dataset_plan.transpose_forward)
    (first, _), *in_plane = properties.bbox
    (top, _), (left, right) = in_plane
    probabilities, chances = None, None
    if with_probabilities:
        probabilities = np.zeros((labels.channels, *file_shape), np.float32)
        if not labels.has_regions:
            probabilities[0] = 1
        chances = probabilities.transpose(0, *(axis + 1 for axis in dataset_plan.transpose_forward))
    for slice_ in range(properties.shape_after_cropping[0]):
        for band, logits in planes.blended(maps[0], slice_):
            rows = slice(top + band.start, top + band.stop)
            target[first + slice_][rows, left:right] = labels.decode(logits, threshold=0.0)
            if chances is not None:
                chances[:, first + slice_][:, rows, left:right] = _activated(logits / temperature, labels)
    return Exported(segmentation, probabilities)


def _activated(logits: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """Row by row, float32 (K, rows, X): in larger arrays the last bit depends on how many rows there are."""
    rows = (torch.from_numpy(np.ascontiguousarray(logits[:, row])) for row in range(logits.shape[1]))
    return np.stack([labels.activate(row).numpy() for row in rows], 1)


def axis_maps(properties: CaseProperties, dataset_plan: DatasetPlan) -> list[AxisMap]:
    """Maps of each axis (z, y, x after the plan's transpose) from the plan's grid to the cropped grid of the file."""
    spacing_mm = [properties.geometry.spacing_mm[axis] for axis in dataset_plan.transpose_forward]
    separate = separate_axis(dataset_plan.spacing_mm, spacing_mm)
    sizes = zip(properties.shape, properties.shape_after_cropping, strict=True)
    return [
        AxisMap.nearest(size, new_size) if axis == separate else AxisMap.linear(size, new_size)
        for axis, (size, new_size) in enumerate(sizes)
    ]


class _Planes:
    """The slices of a slab stream, interpolated in-plane on request; the last two are cached.

    With one band they are cached as interpolated, with several as they came, and each band is interpolated alone.
    """

    def __init__(
        self, slabs: Iterable[Slab], shape: tuple[int, ...], rows: AxisMap, columns: AxisMap, case: str,
        bands: Sequence[slice],
    ) -> None:
        self.stream = _slices(slabs, shape)
        self.rows, self.columns, self.case, self.bands = rows, columns, case, bands
        self.kept: dict[int, np.ndarray] = {}

    def blended(self, along: AxisMap, place: int) -> Iterator[tuple[slice, np.ndarray]]:
        """Bands of rows of slice `place` of the new axis, and their logits (K, rows, columns); not to be written to."""
        lower, upper = int(along.lower[place]), int(along.upper[place])
        low, high = self._plane(lower), self._plane(upper)
        for band in self.bands:
            if upper == lower:
                yield band, self._band(low, band)
            else:
                yield band, blend(self._band(low, band).copy(), self._band(high, band).copy(), along.weight[place])

    def _band(self, plane: np.ndarray, band: slice) -> np.ndarray:
        return plane if len(self.bands) == 1 else self._interpolated(plane, self.rows.part(band))

    def _interpolated(self, plane: np.ndarray, rows: AxisMap) -> np.ndarray:
        return self.columns.apply(rows.apply(plane, 1), 2)

    def _plane(self, index: int) -> np.ndarray:
        if index not in self.kept:
            plane = next((plane for number, plane in self.stream if number == index), None)
            if plane is None:
                raise ValueError(f"the logits end before slice {index}")
            if not np.isfinite(plane).all():
                raise UserError("A case's logits must be finite.", where=self.case,
                                found=f"NaN or infinity in slice {index}",
                                mend="Compare the image's intensities with those of the training images, and repair "
                                     "the image.")
            self.kept[index] = self._interpolated(plane, self.rows) if len(self.bands) == 1 else plane
            self.kept = {number: self.kept[number] for number in sorted(self.kept)[-2:]}
        return self.kept[index]


def _slices(slabs: Iterable[Slab], shape: tuple[int, ...]) -> Iterator[tuple[int, np.ndarray]]:
    """(index, logits (K, Y, X)) of every slice; `shape` is what each slice must have."""
    expected = 0
    for first, slab in memory_errors(slabs):
        found = (slab.shape[0], *slab.shape[2:])
        if first != expected or found != shape:
            raise ValueError(f"a slab of slices {shape} was expected at {expected}, one of {found} came at {first}")
        for offset in range(slab.shape[1]):
            yield first + offset, np.ascontiguousarray(slab[:, offset], np.float32)
        expected += slab.shape[1]
