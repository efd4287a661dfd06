"""Batches of in-plane patches, labelled or in unlabelled pairs: sampled and augmented keyed by (seed, iteration, sample)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from samunet.dataset.labels import OUTSIDE, UNANNOTATED
from samunet.inputs.batches import Batch
from samunet.inputs.patch_augmentation import PatchAugmentation
from samunet.inputs.sampling import LabelSlices, Pick, Sampler
from samunet.preprocessing.store import ArrayStore


class PatchBatches:
    """Augmented patches at random places; those that were drawn for a class have a voxel of it in their middle.

    A patch reaches past the image only where the image is smaller, and lies centred there (nnU-Net's patches of foreground may
    reach past the far border).

    Arguments:
        names, labels: of each case, index by index; the frame of `labels` is one tile, the whole plane.
        arrays: where the cases' images are.
        sampler: picks case, slice and class.
        augmentation: of patches of one size.
    """

    def __init__(
        self, names: Sequence[str], arrays: ArrayStore, labels: Sequence[LabelSlices], sampler: Sampler,
        augmentation: PatchAugmentation,
    ) -> None:
        self._names, self._arrays, self._labels, self._sampler = names, arrays, labels, sampler
        self._augmentation = augmentation
        self.seed = sampler.seed

    def read(self, iteration: int) -> Batch:
        """Patches float32 (B, C, rows, columns) and their label values."""
        picks = self._sampler.picks(iteration)
        patches = [self._patch(pick, [self.seed, iteration, sample, 1]) for sample, pick in enumerate(picks)]
        inputs = torch.from_numpy(np.stack([image for image, _ in patches]))
        labels = torch.from_numpy(np.stack([labels for _, labels in patches]).astype(np.int64))
        return Batch(iteration, [self._names[pick.case] for pick in picks], inputs, labels)

    def _patch(self, pick: Pick, key: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        labels = self._labels[pick.case].tile(pick.plane, pick.tile)
        image = self._arrays.image_slice(self._names[pick.case], pick.plane)
        random, space, wanted = np.random.default_rng(key), self._sampler.labels, None
        if pick.label is not None:
            voxels = np.argwhere(space.mask(labels, space.foreground[pick.label]))
            wanted = voxels[random.integers(len(voxels))]
        middle = middle_of(labels.shape, self._augmentation.patch, random, wanted)
        region = [cut(array, middle, self._augmentation.region, fill) for array, fill in ((image, 0), (labels, OUTSIDE))]
        return self._augmentation(region[0], region[1], key)


class PairBatches:
    """Unlabelled patches, each augmented twice: entries i and i + B of a batch of 2B are of one patch.

    A case, a slice and a place are drawn uniformly, keyed by (seed, iteration, sample).

    Arguments:
        names, shapes: of each case; (Z, Y, X) voxels.
        arrays: where the cases' images are.
        size: B.
    """

    def __init__(
        self, names: Sequence[str], shapes: Sequence[tuple[int, int, int]], arrays: ArrayStore,
        augmentation: PatchAugmentation, size: int, seed: int,
    ) -> None:
        self._names, self._shapes, self._arrays = names, shapes, arrays
        self._augmentation, self._size, self.seed = augmentation, size, seed

    def read(self, iteration: int) -> Batch:
        """Patches float32 (2B, C, rows, columns); no voxel has a label that is used."""
        drawn = [self._pair([self.seed, iteration, sample]) for sample in range(self._size)]
        patches = np.stack([pair[view] for view in (0, 1) for _, pair in drawn])
        nothing = torch.full((len(patches), *patches.shape[2:]), UNANNOTATED)
        return Batch(iteration, [name for name, _ in drawn], torch.from_numpy(patches), nothing)

    def _pair(self, key: Sequence[int]) -> tuple[str, list[np.ndarray]]:
        random = np.random.default_rng(key)
        case = int(random.integers(len(self._names)))
        depth, *shape = self._shapes[case]
        image = self._arrays.image_slice(self._names[case], int(random.integers(depth)))
        middle = middle_of(shape, self._augmentation.patch, random)
        region, inside = cut(image, middle, self._augmentation.region, 0), np.zeros(self._augmentation.region, np.int16)
        return self._names[case], [self._augmentation(region, inside, [*key, view])[0] for view in (1, 2)]


def middle_of(
    shape: Sequence[int], patch: tuple[int, int], random: np.random.Generator, wanted: Sequence[int] | None = None
) -> tuple[int, int]:
    """The voxel in the middle (`size // 2` from the start) of a patch that lies in the image wherever that is long enough.

    Arguments:
        shape: (rows, columns) of the slice.
        wanted: a voxel to be in the middle, as far as it can; None: any place.
    """
    middle = []
    for axis in (0, 1):
        spare = shape[axis] - patch[axis]
        if spare <= 0:
            start = -((-spare) // 2)
        elif wanted is None:
            start = int(random.integers(spare + 1))
        else:
            start = int(np.clip(wanted[axis] - patch[axis] // 2, 0, spare))
        middle.append(start + patch[axis] // 2)
    return middle[0], middle[1]


def cut(array: np.ndarray, middle: tuple[int, int], size: tuple[int, int], fill: float) -> np.ndarray:
    """The window of `size` (rows, columns) of `array` (..., Y, X) whose voxel `size // 2` is `middle`; `fill` outside."""
    window, padding = [], [(0, 0)] * (array.ndim - 2)
    for axis in (0, 1):
        start, length = middle[axis] - size[axis] // 2, array.shape[axis - 2]
        low, high = np.clip((start, start + size[axis]), 0, length)
        window.append(slice(low, high))
        padding.append((int(low - start), int(start + size[axis] - high)))
    return np.pad(array[..., window[0], window[1]], padding, constant_values=fill)
