"""3D patches of normalised channels, for any 3D network: read, augmented, sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from batchgenerators.transforms.abstract_transforms import Compose
from torch import Tensor

from samunet.dataset.labels import OUTSIDE, LabelSpace
from samunet.inputs.augmentation import intensity_transforms, seed_batchgenerators
from samunet.inputs.batches import Key
from samunet.inputs.protocols import Place
from samunet.inputs.sampling import LabelSlices, Pick, first_slice
from samunet.inputs.volumes import WARPED_SHARE, Warp, sampled
from samunet.planning.tiles import TileFrame

Axes = tuple[int, int, int]


class CasePatches3d:
    """Patches of a case by (first slice, tile); see `CaseInputs`.

    Arguments:
        image: the normalised channels, float32 (C, Z, Y, X).
        patch: voxels (z, y, x).
        step: fraction of a patch between neighbours in-plane.
        mirror: in-plane axes (0 rows, 1 columns) along which each patch is flipped.
    """

    def __init__(self, image: np.ndarray, patch: Axes, step: float, mirror: Sequence[int] = ()) -> None:
        self.frame, self.depth = TileFrame((image.shape[2], image.shape[3]), patch[1:], step), image.shape[1]
        self._image, self._patch, self._axes = image, patch, tuple(axis - 2 for axis in mirror)

    def read(self, picks: Sequence[Place]) -> Tensor:
        """Float32 (B, C, z, y, x), 0 outside the image."""
        above, before = self.frame.before
        starts = [(first, self.frame.starts[tile]) for first, tile in picks]
        patches = np.stack([cut_3d(self._image, (first, row - above, column - before), self._patch, 0.0)
                            for first, (row, column) in starts])
        return torch.from_numpy(np.ascontiguousarray(np.flip(patches, self._axes)))


class Patch3dAugmentation:
    """Rotation, scaling, shift and a smooth bend of the patch, then nnU-Net's intensity transforms; no flips.

    Patients are positioned one way, and labels may say which side is which. What a warp takes from outside the patch is
    that of its border.

    Arguments:
        patch: voxels (z, y, x).
        flat: whether slices must not be tilted or moved against each other.
    """

    def __init__(self, patch: Axes, *, flat: bool) -> None:
        self.patch, self._flat = patch, flat
        self._intensities = Compose(intensity_transforms())

    def __call__(
        self, image: np.ndarray, labels: np.ndarray, random: np.random.Generator, key: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """One augmented patch.

        Arguments:
            image: float32 (C, z, y, x). labels: int16 (z, y, x).
            random: of the warp. key: seeds the intensities.

        Returns:
            image float32 (C, z, y, x) and labels int64 (z, y, x).
        """
        shown, target = torch.from_numpy(image)[None], torch.from_numpy(labels.astype(np.float32))[None, None]
        if random.random() < WARPED_SHARE:
            warp = Warp.random(random, self.patch, self._flat)
            places = warp.grid(self.patch, self.patch, (1, 1, 1))
            shown, target = sampled(shown, places, "bilinear"), sampled(target, places, "nearest")
        seed_batchgenerators(key)
        recoloured = self._intensities(data=shown.numpy())["data"][0].astype(np.float32)
        return torch.from_numpy(recoloured), target[0, 0].long()


class Patch3dSamples:
    """Augmented patches at random positions; those that were picked for a class hold a voxel of it.

    A patch reaches past the image only where the image is smaller, and is centred there.

    Arguments:
        names, labels: of each case, index by index; the frame of `labels` is one tile, the whole plane.
        image: a case's normalised channels by name, float32 (C, Z, Y, X).
        space: the label space.
        augmentation: of patches of one shape.
    """

    def __init__(
        self, names: Sequence[str], image: Callable[[str], np.ndarray], labels: Sequence[LabelSlices],
        space: LabelSpace, augmentation: Patch3dAugmentation,
    ) -> None:
        self._names, self._image, self._labels = names, image, labels
        self._space, self._augmentation = space, augmentation

    def read(self, picks: Sequence[Pick], keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
        """Patches float32 (B, C, z, y, x) and their label values int64 (B, z, y, x)."""
        samples = [self._sample(pick, [*key, 1]) for pick, key in zip(picks, keys, strict=True)]
        return torch.stack([image for image, _ in samples]), torch.stack([labels for _, labels in samples])

    def _sample(self, pick: Pick, key: Key) -> tuple[Tensor, Tensor]:
        labels, patch = self._labels[pick.case], self._augmentation.patch
        image, random, held = self._image(self._names[pick.case]), np.random.default_rng(key), None
        if pick.label is not None:
            voxels = np.argwhere(self._space.mask(labels.tile(pick.plane, pick.tile),
                                                  self._space.foreground[pick.label]))
            held = voxels[random.integers(len(voxels))]
        rows, columns = image.shape[2:]
        # Any voxel of the plane where none is to be held.
        row, column = held if held is not None else (random.integers(rows), random.integers(columns))
        start = (first_slice(pick.plane, patch[0], image.shape[1], random),
                 first_slice(int(row), patch[1], rows, random), first_slice(int(column), patch[2], columns, random))
        planes = np.full((patch[0], rows, columns), OUTSIDE, np.int16)
        for plane in range(max(start[0], 0), min(start[0] + patch[0], image.shape[1])):
            planes[plane - start[0]] = labels.tile(plane, 0)
        shown = cut_3d(planes, (0, *start[1:]), patch, OUTSIDE)
        return self._augmentation(cut_3d(image, start, patch, 0.0), shown, random, key)


@dataclass(frozen=True)
class KeyedPatches:
    """B patches with their labels, for networks that are trained by prompts simulated from the labels.

    Arguments:
        images: float32 (B, C, z, y, x). labels: label values int64 (B, z, y, x).
        keys: int64 (B, 3), what keys the random choices of each sample.
    """

    images: Tensor
    labels: Tensor
    keys: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: slice) -> KeyedPatches:
        return KeyedPatches(self.images[chosen], self.labels[chosen], self.keys[chosen])

    def to(self, device: torch.device) -> KeyedPatches:
        """The same, images on `device`; prompts are simulated on the CPU."""
        return KeyedPatches(self.images.to(device), self.labels, self.keys)


class KeyedSamples:
    """The samples of `patches` as `KeyedPatches`."""

    def __init__(self, patches: Patch3dSamples) -> None:
        self._patches = patches

    def read(self, picks: Sequence[Pick], keys: Sequence[Key]) -> tuple[KeyedPatches, Tensor]:
        """`KeyedPatches` and their label values int64 (B, z, y, x)."""
        images, labels = self._patches.read(picks, keys)
        return KeyedPatches(images, labels, torch.tensor(keys)), labels


def cut_3d(array: np.ndarray, start: Sequence[int], size: Sequence[int], fill: float) -> np.ndarray:
    """The window of `size` (z, y, x) from `start` on of `array` (..., Z, Y, X), `fill` outside."""
    window: list[slice] = []
    padding = [(0, 0)] * (array.ndim - 3)
    for first, side, length in zip(start, size, array.shape[-3:], strict=True):
        low, high = np.clip((first, first + side), 0, length)
        window.append(slice(low, high))
        before = min(max(-first, 0), side)
        padding.append((before, side - before - int(high - low)))
    return np.pad(array[..., window[0], window[1], window[2]], padding, constant_values=fill)
