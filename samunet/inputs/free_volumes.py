"""Volumes cut and warped whenever they are read, for 3D networks that read voxels alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from batchgenerators.transforms.abstract_transforms import Compose
from torch import Tensor
from torch.nn.functional import grid_sample

from samunet.dataset.labels import OUTSIDE
from samunet.inputs.augmentation import intensity_transforms, seed_batchgenerators
from samunet.inputs.batches import Key
from samunet.inputs.sampling import LabelSlices, Pick, first_slice
from samunet.inputs.volumes import BENDS, Volumes, Warp, normalised, voxel_middles
from samunet.planning.volume_rules import VolumePlan
from samunet.preprocessing.views import random_matrix

GEOMETRY_SHARE = 0.2  # nnU-Net's, with which a volume is turned, scaled or bent, each by itself
DEGREES, SCALE = 30.0, (0.7, 1.4)  # nnU-Net's in 3D
BEND_FRACTION = 0.04  # largest standard deviation of the bend, of the volume's side
MOVED_FRACTION = 0.25  # of a tile, by which a volume's corner may lie off the tile's


class FreeVolumeSamples:
    """Volumes that hold the picked slices, turned, scaled and bent about their middle; then nnU-Net's intensities.

    Nothing is bound to tiles or cached views: a volume begins up to a quarter of a tile off the picked one, inside the
    case where that is long enough, and what a warp brings in from beyond its edges is the case's own. All channels are
    warped at once, what is transported to the case as well; the intensities of the image's alone change.

    After nnUNetTrainer.get_training_transforms (2.8.1), with these deviations. Volumes are bent, too. Slices that are
    thick are turned by the same angles in the plane (nnU-Net: any), never tilted, moved against each other or made
    coarser. Nothing is mirrored: the patients of a dataset lie alike, and a mirrored left side is a right one, which
    dataset.json does not say.

    Arguments:
        images: give each case's channels, float32 (C + F, Z, Y, X). labels: of each case, index by index.
        plan: of a volume.
        channels: C, those of the image.
        flat: whether slices are thick.
    """

    def __init__(
        self, images: Sequence[Callable[[], np.ndarray]], labels: Sequence[LabelSlices], plan: VolumePlan,
        channels: int, *, flat: bool,
    ) -> None:
        self._images, self._labels, self._plan, self._channels, self._flat = images, labels, plan, channels, flat
        self._intensities = Compose(intensity_transforms(flat=flat))

    def read(self, picks: Sequence[Pick], keys: Sequence[Key]) -> tuple[Volumes, Tensor]:
        """Volumes without embeddings, and their label values int64 (B, N, rows, columns)."""
        samples = [self._sample(pick, [*key, 1]) for pick, key in zip(picks, keys, strict=True)]
        cells = torch.zeros(len(samples), 0, *self._plan.cells)
        return Volumes(torch.cat([image for image, _ in samples]), cells), torch.stack([each for _, each in samples])

    def _sample(self, pick: Pick, key: Key) -> tuple[Tensor, Tensor]:
        random, labels = np.random.default_rng(key), self._labels[pick.case]
        image = self._images[pick.case]()
        start = torch.tensor(self._start(pick, labels, image.shape[1], random), dtype=torch.float32)
        sources = free_warp(random, self._plan.shape, self._flat).sources(voxel_middles(self._plan.shape)) + start
        box = _box(sources, image.shape[1:])
        grid = normalised(sources - torch.tensor([float(each.start) for each in box]), [_length(each) for each in box])
        shown = grid_sample(torch.from_numpy(image[:, *box])[None], grid, align_corners=False)
        planes = np.stack([labels.plane(plane)[box[1:]] for plane in range(box[0].start, box[0].stop)])
        known = torch.from_numpy(planes - OUTSIDE)[None, None].float()  # so that beyond the case is 0
        target = grid_sample(known, grid, mode="nearest", align_corners=False)[0, 0].long() + OUTSIDE
        seed_batchgenerators(key)
        recoloured = self._intensities(data=shown[:, : self._channels].numpy())["data"].astype(np.float32)
        return torch.cat([torch.from_numpy(recoloured), shown[:, self._channels :]], 1), target

    def _start(self, pick: Pick, labels: LabelSlices, depth: int, random: np.random.Generator) -> list[int]:
        """First voxel (z, y, x) of a volume; negative where the case is shorter."""
        start = [first_slice(pick.plane, self._plan.depth, depth, random)]
        frame = labels.frame
        for axis, tile in enumerate(self._plan.shape[1:]):
            corner, spare = frame.starts[pick.tile][axis] - frame.before[axis], frame.shape[axis] - tile
            moved = round(corner + random.uniform(-MOVED_FRACTION, MOVED_FRACTION) * tile)
            start.append(int(np.clip(moved, 0, spare)) if spare > 0 else corner)
        return start


def free_warp(random: np.random.Generator, shape: Sequence[int], flat: bool) -> Warp:
    """A warp of a volume of `shape` voxels: turned by up to 30 degrees about each axis, scaled by 0.7 to 1.4, bent."""
    turned, scaled, bent = random.random(3) < GEOMETRY_SHARE
    degrees = DEGREES if turned else 0.0
    matrix = random_matrix(random, SCALE if scaled else (1.0, 1.0), 0.0, flat=flat, degrees=(degrees, degrees))
    most = random.uniform(0, BEND_FRACTION) * bent * np.array(shape, float)
    if flat:
        most[0] = 0.0
    bends = random.standard_normal((1, 3, BENDS, BENDS, BENDS)) * most[:, None, None, None]
    return Warp(torch.from_numpy(matrix.astype(np.float32)), torch.zeros(3), torch.from_numpy(bends).float(), shape)


def _box(sources: Tensor, shape: Sequence[int]) -> tuple[slice, ...]:
    """What of a case of `shape` voxels is read for `sources` (z, y, x, 3): at least one voxel of each axis."""
    lows, highs = sources.amin((0, 1, 2)).floor().tolist(), sources.amax((0, 1, 2)).ceil().tolist()
    starts = [int(np.clip(low - 1, 0, size - 1)) for low, size in zip(lows, shape, strict=True)]
    return tuple(slice(start, int(np.clip(high + 1, start + 1, size)))
                 for start, high, size in zip(starts, highs, shape, strict=True))


def _length(part: slice) -> int:
    return int(part.stop - part.start)
