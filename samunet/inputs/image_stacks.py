"""Stacks of the encoder's images, for networks whose encoder sees neighbouring slices: read, augmented, sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from samunet.inputs.batches import Key
from samunet.inputs.encoder_input import image_size
from samunet.inputs.protocols import CaseInputs, Place
from samunet.inputs.sampling import LabelSlices, Pick, first_slice
from samunet.planning.plans import EncoderPlan

OFTEN, SELDOM = 1 / 2, 2 / 9  # shares of the stacks: of what varies alone, and of what is two of nine
DEGREES = 15.0
SCALE = (0.8, 1.2)
SHIFT_FRACTION = 0.1
GAMMA = (0.7, 1.5)  # the exponent is its inverse
CONTRAST = BRIGHTNESS = (0.7, 1.3)


class CaseImageStacks:
    """Volumes of a case by (first slice, tile); see `CaseInputs`.

    Slices before the first are the first one repeated, those after the last the last one, as MA-SAM pads its volumes
    (Chen et al., arXiv 2309.08842). A slice that several stacks of one call hold is read once.

    Arguments:
        images: of the case's single slices and tiles, square.
        slices: N of a stack.
        canvas: rows and columns in pixels that a tile covers; the zeros around them are cut off. The paper has square
            inputs.
    """

    def __init__(self, images: CaseInputs, slices: int, canvas: tuple[int, int]) -> None:
        self.frame, self.depth = images.frame, images.depth
        self._images, self._slices, self._canvas = images, slices, canvas

    def read(self, picks: Sequence[Place]) -> Tensor:
        """Float32 (B, N, n, 3, rows, columns) of the canvas, n the images of a slice that are encoded alone."""
        wanted = [(plane, tile) for first, tile in picks for plane in planes_of(first, self._slices, self.depth)]
        once = sorted(set(wanted))
        place = {pick: index for index, pick in enumerate(once)}
        rows, columns = self._canvas
        images = self._images.read(once)[..., :rows, :columns]
        return images[torch.tensor([place[pick] for pick in wanted])].unflatten(0, (len(picks), self._slices))


def planes_of(first: int, slices: int, depth: int) -> list[int]:
    """The slices that a stack from `first` on shows of a case of `depth`: beyond an end, the slice at that end."""
    return [int(plane) for plane in np.clip(np.arange(first, first + slices), 0, depth - 1)]


class ImageStackAugmentation:
    """Gamma, contrast and brightness, then rotation, scaling and shift in the plane, each for a share of the stacks.

    After MA-SAM (Chen et al., arXiv 2309.08842): gamma and rotation for half of the stacks, and two of nine others.
    Deviations: quarter turns and flips are left out, since patients are positioned one way, as are shearing, erasing,
    posterising and sharpening; what is left of the nine varies independently, as often; shifts are half as far; images
    are rotated linearly, not to the nearest pixel, scaled about the middle, and never rounded to 8 bits; gamma has
    nnU-Net's range, 0.7 to 1.5, not 0.5 to 3.5.

    The last because a run has hundreds of iterations. Hippocampus, fold 1, 16 cases of draw 0, 690 iterations, 13
    validation cases, one scratch run each: every draw for half of the stacks 0.757, with nnU-Net's gamma 0.769, and the
    others as seldom as published 0.787.
    """

    def __init__(self, plan: EncoderPlan) -> None:
        self._tile, self._size = plan.tile_shape, image_size(plan)

    def __call__(self, images: Tensor, labels: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """One augmented stack.

        Arguments:
            images: float32 (N, n, 3, H, W), as `CaseImageStacks` cuts them: the tile in the upper left, 0 outside the
                image.
            labels: int16 (M, rows, columns) on the tile's voxels: of the N slices, and whatever else covers them.

        Returns:
            images, 0 where nothing is known, and labels int64, background there.
        """
        turn, scale = math.radians(_maybe(random, OFTEN, (-DEGREES, DEGREES), 0.0)), _maybe(random, SELDOM, SCALE, 1.0)
        shift = [_maybe(random, SELDOM, (-SHIFT_FRACTION, SHIFT_FRACTION), 0.0) * side for side in self._tile]
        gamma = 1 / _maybe(random, OFTEN, GAMMA, 1.0)
        contrast, brightness = _maybe(random, SELDOM, CONTRAST, 1.0), _maybe(random, SELDOM, BRIGHTNESS, 1.0)
        matrix = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) / scale
        rows, columns = self._size
        # Before the warp, which blurs what is outside.
        shown = recoloured(images[..., :rows, :columns], gamma, contrast, brightness)
        moved = warped(shown.flatten(0, 1), matrix, torch.tensor(shift), self._tile, "bilinear").view_as(shown)
        target = warped(labels[:, None].float(), matrix, torch.tensor(shift), self._tile, "nearest")
        return pad(moved, (0, images.shape[-1] - columns, 0, images.shape[-2] - rows)), target[:, 0].long()


class ImageStackSamples:
    """Augmented stacks that hold the picked slices at random positions.

    Slices repeated beyond the ends of a case repeat their labels.

    Arguments:
        stacks, labels: of each case, index by index.
        slices: N of a stack.
    """

    def __init__(
        self, stacks: Sequence[CaseImageStacks], labels: Sequence[LabelSlices], slices: int,
        augmentation: ImageStackAugmentation,
    ) -> None:
        self.slices, self.labels = slices, labels
        self._stacks, self._augmentation = stacks, augmentation

    def read(self, picks: Sequence[Pick], keys: Sequence[Key]) -> tuple[Tensor, Tensor]:
        """Stacks float32 (B, N, n, 3, H, W) and their label values int64 (B, N, rows, columns)."""
        samples = [self.sample(pick, np.random.default_rng([*key, 1])) for pick, key in zip(picks, keys, strict=True)]
        return torch.stack([images for _, images, _ in samples]), torch.stack([labels for _, _, labels in samples])

    def sample(
        self, pick: Pick, random: np.random.Generator, beside: Sequence[np.ndarray] = ()
    ) -> tuple[list[int], Tensor, Tensor]:
        """One augmented stack.

        Arguments:
            beside: label maps int16 (rows, columns), which are warped as the stack is.

        Returns:
            its slices; images float32 (N, n, 3, H, W); label values int64 (N + M, rows, columns), the M `beside` last.
        """
        source, labels = self._stacks[pick.case], self.labels[pick.case]
        first = first_slice(pick.plane, self.slices, source.depth, random)
        planes = planes_of(first, self.slices, source.depth)
        segmentation = np.stack([*(labels.tile(plane, pick.tile) for plane in planes), *beside])
        return planes, *self._augmentation(source.read([(first, pick.tile)])[0], torch.from_numpy(segmentation), random)


def warped(maps: Tensor, matrix: Tensor, shift: Tensor, tile: tuple[int, int], mode: str) -> Tensor:
    """`maps` float32 (M, C, y, x) that cover a tile, each place taken from `matrix` (2, 2) times it plus `shift` (2,).

    Both are in voxels of the tile, about its middle, rows first. What comes from outside is 0.
    """
    extent = torch.tensor([float(side) for side in tile])
    axes = [(torch.arange(count) + 0.5) * side / count for count, side in zip(maps.shape[2:], tile, strict=True)]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    sources = (places - extent / 2) @ matrix.T + extent / 2 + shift
    grid = (sources / extent * 2 - 1).flip(-1)
    return grid_sample(maps, grid.expand(len(maps), -1, -1, -1), mode=mode, padding_mode="zeros", align_corners=False)


def recoloured(images: Tensor, gamma: float, contrast: float, brightness: float) -> Tensor:
    """Images float32 (..., 3, y, x), bent and stretched on [0, 1], to which each colour of the stack is scaled.

    Pixels of exactly 0 lie outside the image and stay so.
    """
    inside = images != 0
    others = [axis for axis in range(images.ndim) if axis != images.ndim - 3]
    low = torch.where(inside, images, math.inf).amin(others, keepdim=True)
    high = torch.where(inside, images, -math.inf).amax(others, keepdim=True)
    width = (high - low).clamp(min=1e-8)
    unit = ((images - low) / width).clamp(0, 1) ** gamma
    middle = (unit * inside).sum(others, keepdim=True) / inside.sum(others, keepdim=True).clamp(min=1)
    unit = ((unit - middle) * contrast + middle) * brightness
    return torch.where(inside, unit * width + low, images)


def _maybe(random: np.random.Generator, share: float, limits: tuple[float, float], otherwise: float) -> float:
    """A value between `limits`, for a `share` of the calls."""
    value = float(random.uniform(*limits))
    return value if random.random() < share else otherwise
