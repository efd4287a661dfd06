"""In-plane patches of normalised channels, for networks without SAM: read, augmented, sampled alone or in pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from samunet.dataset.labels import OUTSIDE, UNANNOTATED, LabelSpace
from samunet.inputs.augmentation import intensity_transforms, seed_batchgenerators
from samunet.inputs.batches import Key
from samunet.inputs.protocols import Place
from samunet.inputs.sampling import LabelSlices, Pick
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.arrays import Arrays

if TYPE_CHECKING:
    from batchgenerators.transforms.abstract_transforms import AbstractTransform

LONG_PATCH = 1.5
NARROW_DEGREES, ANY_DEGREES = 15.0, 180.0
SCALE = (0.7, 1.4)


class CasePatches:
    """Patches of a case in memory; see `CaseInputs`.

    Arguments:
        image: float32 (C, Z, Y, X).
        patch: (rows, columns).
        step: fraction of a patch between neighbours.
        mirror: in-plane axes (0 rows, 1 columns) along which each patch is flipped.
    """

    def __init__(self, image: np.ndarray, patch: tuple[int, int], step: float, mirror: Sequence[int] = ()) -> None:
        self.frame, self.depth = TileFrame(image.shape[2:], patch, step), image.shape[1]
        self._image, self._axes = image, tuple(axis - 2 for axis in mirror)

    def read(self, picks: Sequence[Place]) -> Tensor:
        """Float32 (B, C, rows, columns), 0 outside the image."""
        patches = np.stack([self.frame.cut(self._image[:, plane], tile, 0.0) for plane, tile in picks])
        return torch.from_numpy(np.ascontiguousarray(np.flip(patches, self._axes)))


class PatchAugmentation:
    """nnU-Net v2's transforms for 2D patches (nnUNetTrainer.get_training_transforms, 2.8.1).

    With its probabilities and ranges: rotation and scaling (a fifth of the patches each), noise, blur, brightness,
    contrast, lower resolution, gamma of the inverted and of the plain image, mirroring along both axes. Patches over
    1.5 times as long as wide turn by 15 degrees at most, others by any angle. The transforms are those of
    batchgenerators, on which nnU-Net's present ones are modelled.

    Arguments:
        patch: (rows, columns) of what comes out.
        masked: whether voxels outside the non-zero part are 0 in the normalised images and must stay so.
    """

    def __init__(self, patch: tuple[int, int], masked: Sequence[bool]) -> None:
        degrees = NARROW_DEGREES if max(patch) / min(patch) > LONG_PATCH else ANY_DEGREES
        self.patch, self._masked = patch, [channel for channel, each in enumerate(masked) if each]
        self.region = _region(patch, degrees)
        self._transforms = _transforms(patch, math.radians(degrees))

    def __call__(self, image: np.ndarray, labels: np.ndarray, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """One augmented patch.

        Arguments:
            image: float32 (C, *region).
            labels: int16 (*region), OUTSIDE the image's non-zero part.
            seed: keys all random choices.

        Returns:
            image float32 (C, rows, columns) and labels int16 (rows, columns).
        """
        seed_batchgenerators(seed)
        augmented = self._transforms(data=image[None], seg=labels[None, None].astype(np.float32))
        patch, segmentation = augmented["data"][0].astype(np.float32), augmented["seg"][0, 0].astype(np.int16)
        patch[self._masked] *= segmentation != OUTSIDE
        return patch, segmentation


class PatchSamples:
    """Augmented patches at random positions; those that were picked for a class have a voxel of it in their middle.

    A patch reaches past the image only where the image is smaller, and is centred there (nnU-Net's patches of
    foreground may reach past the far border).

    Arguments:
        names, labels: of each case, index by index; the frame of `labels` is one tile, the whole plane.
        arrays: where the cases' images are.
        space: the label space.
        augmentation: of patches of one size.
    """

    def __init__(
        self, names: Sequence[str], arrays: Arrays, labels: Sequence[LabelSlices], space: LabelSpace,
        augmentation: PatchAugmentation,
    ) -> None:
        self._names, self._arrays, self._labels = names, arrays, labels
        self._space, self._augmentation = space, augmentation

    def read(self, picks: Sequence[Pick], keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
        """Patches float32 (B, C, rows, columns) and their label values int64 (B, rows, columns)."""
        samples = [self._sample(pick, [*key, 1]) for pick, key in zip(picks, keys, strict=True)]
        labels = np.stack([labels for _, labels in samples]).astype(np.int64)
        return torch.from_numpy(np.stack([image for image, _ in samples])), torch.from_numpy(labels)

    def _sample(self, pick: Pick, key: Key) -> tuple[np.ndarray, np.ndarray]:
        labels = self._labels[pick.case].tile(pick.plane, pick.tile)
        image = self._arrays.image_slice(self._names[pick.case], pick.plane)
        random, wanted = np.random.default_rng(key), None
        if pick.label is not None:
            voxels = np.argwhere(self._space.mask(labels, self._space.foreground[pick.label]))
            wanted = voxels[random.integers(len(voxels))]
        middle = middle_of(labels.shape, self._augmentation.patch, random, wanted)
        size = self._augmentation.region
        return self._augmentation(cut(image, middle, size, 0), cut(labels, middle, size, OUTSIDE), key)


@dataclass(frozen=True)
class PatchPick:
    """One unlabelled patch: index of its case, slice, and the voxel (row, column) in its middle."""

    case: int
    plane: int
    middle: tuple[int, int]


class PatchSampler:
    """Picks unlabelled patches: a case, a slice and a position, each uniform, keyed by (seed, iteration, sample).

    Arguments:
        shapes: of each case, (Z, Y, X) voxels.
        patch: (rows, columns).
        batch_size: B.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, int, int]], patch: tuple[int, int], batch_size: int, seed: int
    ) -> None:
        self._shapes, self._patch, self._batch_size, self.seed = shapes, patch, batch_size, seed

    def picks(self, iteration: int) -> list[PatchPick]:
        """The batch of `iteration`, whatever was picked before."""
        return [self._pick(np.random.default_rng([self.seed, iteration, sample])) for sample in range(self._batch_size)]

    def _pick(self, random: np.random.Generator) -> PatchPick:
        case = int(random.integers(len(self._shapes)))
        depth, *shape = self._shapes[case]
        plane = int(random.integers(depth))
        return PatchPick(case, plane, middle_of(shape, self._patch, random))


class PairSamples:
    """Unlabelled patches, each augmented twice: entries i and i + B of 2B are of one patch.

    Arguments:
        names: of the cases.
        arrays: where the cases' images are.
    """

    def __init__(self, names: Sequence[str], arrays: Arrays, augmentation: PatchAugmentation) -> None:
        self._names, self._arrays, self._augmentation = names, arrays, augmentation

    def read(self, picks: Sequence[PatchPick], keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
        """Patches float32 (2B, C, rows, columns); every label is UNANNOTATED, so that none counts."""
        pairs = [self._pair(pick, key) for pick, key in zip(picks, keys, strict=True)]
        patches = np.stack([pair[view] for view in (0, 1) for pair in pairs])
        return torch.from_numpy(patches), torch.full((len(patches), *patches.shape[2:]), UNANNOTATED)

    def _pair(self, pick: PatchPick, key: Key) -> list[np.ndarray]:
        image = self._arrays.image_slice(self._names[pick.case], pick.plane)
        size = self._augmentation.region
        region, inside = cut(image, pick.middle, size, 0), np.zeros(size, np.int16)
        return [self._augmentation(region, inside, [*key, view])[0] for view in (1, 2)]


def middle_of(
    shape: Sequence[int], patch: tuple[int, int], random: np.random.Generator, wanted: Sequence[int] | None = None
) -> tuple[int, int]:
    """The voxel in the middle (`size // 2` from the start) of a patch, inside the image where that is long enough.

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
    """The window of `size` (rows, columns) of `array` (..., Y, X) whose voxel `size // 2` is `middle`.

    `fill` outside.
    """
    window, padding = [], [(0, 0)] * (array.ndim - 2)
    for axis in (0, 1):
        start, length = middle[axis] - size[axis] // 2, array.shape[axis - 2]
        low, high = np.clip((start, start + size[axis]), 0, length)
        window.append(slice(low, high))
        padding.append((int(low - start), int(start + size[axis] - high)))
    return np.pad(array[..., window[0], window[1]], padding, constant_values=fill)


def _region(patch: tuple[int, int], degrees: float) -> tuple[int, int]:
    """(rows, columns) that hold the patch's source however it is turned and scaled."""
    rows, columns = patch
    if degrees > 90:
        side = math.ceil(SCALE[1] * math.hypot(rows, columns))
        return side, side
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    height, width = rows * cosine + columns * sine, columns * cosine + rows * sine
    return math.ceil(SCALE[1] * height), math.ceil(SCALE[1] * width)


def _transforms(patch: tuple[int, int], angle: float) -> AbstractTransform:
    from batchgenerators.transforms.abstract_transforms import Compose
    from batchgenerators.transforms.spatial_transforms import MirrorTransform, SpatialTransform

    return Compose([
        SpatialTransform(
            patch, do_elastic_deform=False, do_rotation=True, angle_x=(-angle, angle), p_rot_per_sample=0.2,
            do_scale=True, scale=SCALE, p_scale_per_sample=0.2, random_crop=False,
            border_mode_data="constant", border_cval_data=0,
            order_data=3, border_mode_seg="constant", border_cval_seg=OUTSIDE, order_seg=1),
        *intensity_transforms(),
        MirrorTransform((0, 1)),
    ])
