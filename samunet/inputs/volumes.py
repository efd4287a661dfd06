"""Volumes of slices with the slices' embeddings, for 3D networks joined with SAM: read, augmented, sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from batchgenerators.transforms.abstract_transforms import Compose
from torch import Tensor
from torch.nn.functional import grid_sample

from samunet.dataset.labels import OUTSIDE
from samunet.inputs.augmentation import intensity_transforms, seed_batchgenerators
from samunet.inputs.batches import Key
from samunet.inputs.protocols import CaseInputs, Place
from samunet.inputs.sampling import LabelSlices, Pick, first_slice
from samunet.planning.tiles import TileFrame
from samunet.planning.volume_rules import VolumePlan
from samunet.preprocessing.views import random_matrix

WARPED_SHARE = 0.8
SCALE, STRETCH = (0.8, 1.25), 0.08
SHIFT_FRACTION = 0.05
BENDS = 4  # control points along an axis
BEND_VOXELS = 2.0


@dataclass(frozen=True)
class Volumes:
    """B volumes: image float32 (B, C, N, rows, columns), embeddings float32 (B, D, *cells) of a `VolumePlan`."""

    image: Tensor
    embeddings: Tensor

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, chosen: slice) -> Volumes:
        return Volumes(self.image[chosen], self.embeddings[chosen])

    def to(self, device: torch.device) -> Volumes:
        """The same on `device`."""
        return Volumes(self.image.to(device), self.embeddings.to(device))


class CaseVolumes:
    """Volumes of a case by (first slice, tile); see `CaseInputs`.

    Slices before the first and after the last are 0 in the image, as is what is outside it in-plane; their embeddings
    are those of the slice at that end.

    Arguments:
        image: gives the normalised channels, float32 (C, Z, Y, X).
        embeddings: of the case's slices and tiles.
        plan: of a volume.
        mirror: in-plane axes (0 rows, 1 columns) along which `embeddings` are mirrored; the image's tiles follow.
    """

    def __init__(
        self, image: Callable[[], np.ndarray], embeddings: CaseInputs, plan: VolumePlan, mirror: Sequence[int] = ()
    ) -> None:
        self.frame, self.depth = embeddings.frame, embeddings.depth
        self._image, self._embeddings, self._plan = image, embeddings, plan
        self._axes = tuple(axis - 2 for axis in mirror)

    def read(self, picks: Sequence[Place]) -> Volumes:
        """One volume for each pick."""
        images, cells = [self._images(*pick) for pick in picks], [self._cells(*pick) for pick in picks]
        return Volumes(torch.stack(images), torch.stack(cells))

    def _images(self, first: int, tile: int) -> Tensor:
        low, high = max(first, 0), min(first + self._plan.depth, self.depth)
        planes = self.frame.cut(self._image()[:, low:high], tile, 0.0)
        planes = np.pad(planes, ((0, 0), (low - first, first + self._plan.depth - high), (0, 0), (0, 0)))
        return torch.from_numpy(np.ascontiguousarray(np.flip(planes, self._axes) if self._axes else planes))

    def _cells(self, first: int, tile: int) -> Tensor:
        wanted = np.clip(np.arange(first, first + self._plan.padded[0]), 0, self.depth - 1)
        planes, place = np.unique(wanted, return_inverse=True)
        read = self._embeddings.read([(int(plane), tile) for plane in planes])
        return on_cells(read, torch.from_numpy(place), self._plan)


class WithoutEmbeddings:
    """Slices and tiles of a case for networks that read voxels alone: a `CaseInputs` whose embeddings have no channel.
    """

    def __init__(self, frame: TileFrame, depth: int) -> None:
        self.frame, self.depth = frame, depth

    def read(self, picks: Sequence[Place]) -> Tensor:
        """Float32 (B, 0, 1, 1)."""
        return torch.zeros(len(picks), 0, 1, 1)


def without_embeddings(shape: Sequence[int], volume: VolumePlan, step: float) -> WithoutEmbeddings:
    """The tiles of a case of `shape` (Z, Y, X) voxels, as large as a volume is; `step` is a fraction of a tile."""
    depth, rows, columns = shape
    return WithoutEmbeddings(TileFrame((rows, columns), volume.shape[1:], step), depth)


def on_cells(embeddings: Tensor, place: Tensor, plan: VolumePlan) -> Tensor:
    """Embeddings on the cells of the stage at which they join: linear in-plane, the mean over the slices of a cell.

    Arguments:
        embeddings: float32 (M, D, g, g), over squares whose side is the tile's longer one.
        place: int64 (padded slices,), which of the M each slice has.

    Returns:
        float32 (D, *plan.cells).
    """
    side = max(plan.shape[1:])
    # The middle of each cell, from -1 to 1 over the square.
    y, x = ((torch.arange(plan.cells[axis]) + 0.5) * plan.cell[axis] * 2 / side - 1 for axis in (1, 2))
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)
    grid = grid.expand(len(embeddings), -1, -1, -1)
    sampled = grid_sample(embeddings, grid, padding_mode="border", align_corners=False)
    slices = sampled[place].view(plan.cells[0], plan.cell[0], *sampled.shape[1:])
    return slices.mean(1).movedim(0, 1)


class VolumeAugmentation:
    """Rotation, scaling, shift and a smooth bend of the whole volume, then nnU-Net's intensity transforms.

    The embeddings of a warped image are not the warped embeddings: an approximation, whose cost has not been measured.
    The encoder's own embeddings of warped images are in the cached views.

    Arguments:
        plan: of a volume.
        channels: of the image, whose intensities change; what is behind them in a volume is only warped.
        flat: whether slices must not be tilted or moved against each other.
        misplaced_voxels: by how much what is behind the image is bent and moved against it, see `Warp.shifting`; 0:
            not at all.
    """

    def __init__(self, plan: VolumePlan, channels: int, *, flat: bool, misplaced_voxels: float = 0.0) -> None:
        self._plan, self._channels, self._flat, self._misplaced = plan, channels, flat, misplaced_voxels
        self._intensities = Compose(intensity_transforms())

    def __call__(
        self, volume: Volumes, labels: Tensor, random: np.random.Generator, key: Sequence[int]
    ) -> tuple[Volumes, Tensor]:
        """One augmented volume.

        Arguments:
            volume: of one sample.
            labels: int16 (N, rows, columns).
            random: of the warp. key: seeds the intensities.

        Returns:
            the volume, and labels int64.
        """
        image, cells, target = volume.image, volume.embeddings, labels[None, None].float()
        if random.random() < WARPED_SHARE:
            warp = Warp.random(random, self._plan.shape, self._flat)
            places = warp.grid(self._plan.shape, self._plan.shape, (1, 1, 1))
            image, target = sampled(image, places, "bilinear"), sampled(target, places, "nearest")
            cells = warp.of(cells, self._plan.padded, self._plan.cell, "bilinear")
        seed_batchgenerators(key)
        shown, others = image[:, : self._channels], image[:, self._channels :]
        if self._misplaced and random.random() < WARPED_SHARE:
            others = Warp.shifting(random, self._plan.shape, self._misplaced, self._flat).of(
                others, self._plan.shape, (1, 1, 1), "bilinear")
        recoloured = torch.from_numpy(self._intensities(data=shown.numpy())["data"].astype(np.float32))
        return Volumes(torch.cat([recoloured, others], 1), cells), target[0, 0].long()


class Warp:
    """Where each place of a volume comes from: a matrix about the middle, a shift, and a bend between control points.

    Arguments:
        matrix: float32 (3, 3), shift: float32 (3,), bends: float32 (1, 3, BENDS, BENDS, BENDS); voxels, axes (z, y, x).
        shape: voxels of the volume.
    """

    def __init__(self, matrix: Tensor, shift: Tensor, bends: Tensor, shape: Sequence[int]) -> None:
        self._matrix, self._shift, self._bends, self._shape = matrix, shift, bends, shape

    @classmethod
    def random(cls, random: np.random.Generator, shape: Sequence[int], flat: bool) -> Warp:
        """A random one of a volume of `shape` voxels."""
        matrix = random_matrix(random, SCALE, STRETCH, flat=flat)
        return cls._moved(random, matrix, SHIFT_FRACTION * np.array(shape), BEND_VOXELS, shape, flat)

    @classmethod
    def shifting(cls, random: np.random.Generator, shape: Sequence[int], voxels: float, flat: bool) -> Warp:
        """A random shift of up to 0.7 `voxels` an axis, and a bend of a standard deviation of up to `voxels`.

        Nothing is turned or scaled.
        """
        return cls._moved(random, np.eye(3), np.full(3, 0.7 * voxels), voxels, shape, flat)

    @classmethod
    def _moved(
        cls, random: np.random.Generator, matrix: np.ndarray, most_shift: np.ndarray, most_bend: float,
        shape: Sequence[int], flat: bool,
    ) -> Warp:
        shift = random.uniform(-1, 1, 3) * most_shift
        bends = random.standard_normal((1, 3, BENDS, BENDS, BENDS)) * random.uniform(0, most_bend)
        if flat:
            shift[0], bends[:, 0] = 0.0, 0.0
        return cls(_tensor(matrix), _tensor(shift), _tensor(bends), shape)

    def grid(self, shape: Sequence[int], extent: Sequence[int], cell: Sequence[int]) -> Tensor:
        """Where `sampled` reads a volume of `shape` cells of `cell` voxels, which covers `extent` voxels.

        Both begin at the volume's first voxel.
        """
        return normalised(self.sources(voxel_middles(shape, cell)), extent)

    def of(self, volume: Tensor, extent: Sequence[int], cell: Sequence[int], mode: str) -> Tensor:
        """`volume`, `sampled` at the grid of its shape."""
        return sampled(volume, self.grid(volume.shape[2:], extent, cell), mode)

    def sources(self, places: Tensor) -> Tensor:
        """Where each of `places` float32 (z, y, x, 3) comes from; both in voxels from the volume's first corner."""
        bent = grid_sample(self._bends, normalised(places, self._shape), padding_mode="border", align_corners=False)
        middle = torch.tensor([size / 2 for size in self._shape])
        return (places - middle) @ self._matrix.T + middle + self._shift + bent[0].movedim(0, -1)


def sampled(volume: Tensor, grid: Tensor, mode: str) -> Tensor:
    """`volume` float32 (1, C, z, y, x) at the places of `grid`; what comes from outside is that of the border."""
    return grid_sample(volume, grid, mode=mode, padding_mode="border", align_corners=False)


class VolumeSamples:
    """Augmented volumes that hold the picked slices at random positions.

    A case with fewer slices is in the middle of its volume.

    Arguments:
        volumes, labels: of each case, index by index.
        plan: of a volume.
        augmentation: None: volumes are read as they are.
    """

    def __init__(
        self, volumes: Sequence[CaseVolumes], labels: Sequence[LabelSlices], plan: VolumePlan,
        augmentation: VolumeAugmentation | None,
    ) -> None:
        self._volumes, self._labels, self._plan, self._augmentation = volumes, labels, plan, augmentation

    def read(self, picks: Sequence[Pick], keys: Sequence[Key]) -> tuple[Volumes, Tensor]:
        """Volumes and their label values int64 (B, N, rows, columns)."""
        samples = [self._sample(pick, [*key, 1]) for pick, key in zip(picks, keys, strict=True)]
        images, embeddings = [each.image for each, _ in samples], [each.embeddings for each, _ in samples]
        return Volumes(torch.cat(images), torch.cat(embeddings)), torch.stack([labels for _, labels in samples])

    def _sample(self, pick: Pick, key: Key) -> tuple[Volumes, Tensor]:
        source, labels = self._volumes[pick.case], self._labels[pick.case]
        random = np.random.default_rng(key)
        first = first_slice(pick.plane, self._plan.depth, source.depth, random)
        planes = [labels.tile(plane, pick.tile) if 0 <= plane < source.depth else None
                  for plane in range(first, first + self._plan.depth)]
        outside = np.full(self._plan.shape[1:], OUTSIDE, np.int16)
        segmentation = torch.from_numpy(np.stack([outside if plane is None else plane for plane in planes]))
        volume = source.read([(first, pick.tile)])
        return self._augmentation(volume, segmentation, random, key) if self._augmentation else (
            volume, segmentation.long())


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))


def voxel_middles(shape: Sequence[int], cell: Sequence[int] = (1, 1, 1)) -> Tensor:
    """The middles float32 (z, y, x, 3) of `shape` cells of `cell` voxels, in voxels from the first corner."""
    axes = [(torch.arange(count) + 0.5) * width for count, width in zip(shape, cell, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)


def normalised(places: Tensor, size: Sequence[int]) -> Tensor:
    """Places in voxels (z, y, x, 3) as grid_sample wants them: -1 to 1 over `size`, axes turned round."""
    return (places / torch.tensor([float(each) for each in size]) * 2 - 1).flip(-1)[None]
