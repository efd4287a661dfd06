"""Augmentation of a stack of slices: one warp of image, labels and embeddings, then intensities of the image alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from batchgenerators.transforms.abstract_transforms import Compose
from torch import Tensor
from torch.nn.functional import grid_sample

from samunet.inputs.patch_augmentation import intensity_transforms, seed_batchgenerators
from samunet.inputs.volumes import Volumes
from samunet.planning.volume_rules import VolumePlan
from samunet.preprocessing.views import random_matrix

WARPED_SHARE = 0.8
SCALE, STRETCH = (0.8, 1.25), 0.08
SHIFT_FRACTION = 0.05
BENDS = 4  # control points along an axis
BEND_VOXELS = 2.0


class VolumeAugmentation:
    """Rotation, scaling, shift and a smooth bend of the whole stack, then nnU-Net's intensity transforms.

    The embeddings of a warped image are not the warped embeddings: an approximation, whose cost has not been measured. What the
    encoder itself makes of warped images is in the cached views.

    Arguments:
        plan: of the stack.
        channels: of the image, whose intensities change; what stands behind them in a stack is only warped.
        flat: whether slices must not be tilted or moved against each other.
        misplaced_voxels: by how much what stands behind the image is bent and moved against it, see `Warp.shifting`; 0: not at all.
    """

    def __init__(self, plan: VolumePlan, channels: int, *, flat: bool, misplaced_voxels: float = 0.0) -> None:
        self._plan, self._channels, self._flat, self._misplaced = plan, channels, flat, misplaced_voxels
        self._intensities = Compose(intensity_transforms())

    def __call__(
        self, stack: Volumes, labels: Tensor, random: np.random.Generator, key: Sequence[int]
    ) -> tuple[Volumes, Tensor]:
        """One augmented stack.

        Arguments:
            stack: of one sample.
            labels: int16 (N, rows, columns).
            random: draws the warp. key: seeds the intensities.

        Returns:
            the stack, and labels int64.
        """
        image, cells, target = stack.image, stack.embeddings, labels[None, None].float()
        if random.random() < WARPED_SHARE:
            warp = Warp.drawn(random, self._plan, self._flat)
            image = warp.of(image, self._plan.shape, (1, 1, 1), "bilinear")
            target = warp.of(target, self._plan.shape, (1, 1, 1), "nearest")
            cells = warp.of(cells, self._plan.padded, self._plan.cell, "bilinear")
        seed_batchgenerators(key)
        shown, others = image[:, : self._channels], image[:, self._channels :]
        if self._misplaced and random.random() < WARPED_SHARE:
            others = Warp.shifting(random, self._plan, self._misplaced, self._flat).of(
                others, self._plan.shape, (1, 1, 1), "bilinear")
        recoloured = torch.from_numpy(self._intensities(data=shown.numpy())["data"].astype(np.float32))
        return Volumes(torch.cat([recoloured, others], 1), cells), target[0, 0].long()


class Warp:
    """Where each place of a stack comes from: a matrix about the middle, a shift, and a bend between control points.

    Arguments:
        matrix: float32 (3, 3), shift: float32 (3,), bends: float32 (1, 3, BENDS, BENDS, BENDS); voxels, axes (z, y, x).
        shape: voxels of the stack.
    """

    def __init__(self, matrix: Tensor, shift: Tensor, bends: Tensor, shape: Sequence[int]) -> None:
        self._matrix, self._shift, self._bends = matrix, shift, bends
        self._size = torch.tensor([float(size) for size in shape])

    @classmethod
    def drawn(cls, random: np.random.Generator, plan: VolumePlan, flat: bool) -> Warp:
        """A random one."""
        matrix = random_matrix(random, SCALE, STRETCH, flat=flat)
        return cls._moved(random, matrix, SHIFT_FRACTION * np.array(plan.shape), BEND_VOXELS, plan, flat)

    @classmethod
    def shifting(cls, random: np.random.Generator, plan: VolumePlan, voxels: float, flat: bool) -> Warp:
        """A random shift of up to 0.7 `voxels` an axis, and a bend whose deviation is up to `voxels`; nothing is turned or scaled."""
        return cls._moved(random, np.eye(3), np.full(3, 0.7 * voxels), voxels, plan, flat)

    @classmethod
    def _moved(
        cls, random: np.random.Generator, matrix: np.ndarray, most_shift: np.ndarray, most_bend: float, plan: VolumePlan, flat: bool
    ) -> Warp:
        shift = random.uniform(-1, 1, 3) * most_shift
        bends = random.standard_normal((1, 3, BENDS, BENDS, BENDS)) * random.uniform(0, most_bend)
        if flat:
            shift[0], bends[:, 0] = 0.0, 0.0
        return cls(_tensor(matrix), _tensor(shift), _tensor(bends), plan.shape)

    def of(self, volume: Tensor, extent: Sequence[int], cell: Sequence[int], mode: str) -> Tensor:
        """The warped `volume` float32 (1, C, z, y, x), whose cells are `cell` voxels wide and which covers `extent` voxels.

        Both begin at the stack's first voxel. What comes from outside is that of the border.
        """
        axes = [(torch.arange(count) + 0.5) * width for count, width in zip(volume.shape[2:], cell, strict=True)]
        places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        bent = grid_sample(self._bends, _normalised(places, self._size), padding_mode="border", align_corners=False)
        middle = self._size / 2
        sources = (places - middle) @ self._matrix.T + middle + self._shift + bent[0].movedim(0, -1)
        grid = _normalised(sources, torch.tensor([float(size) for size in extent]))
        return grid_sample(volume, grid, mode=mode, padding_mode="border", align_corners=False)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def _normalised(places: Tensor, size: Tensor) -> Tensor:
    """Places in voxels (z, y, x, 3) as grid_sample wants them: -1 to 1 over `size`, axes turned round."""
    return (places / size * 2 - 1).flip(-1)[None]
