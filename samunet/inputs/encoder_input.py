"""From a preprocessed case to the square images that a SAM encoder reads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.planning.tiles import TileFrame
from samunet.preprocessing.case import CaseProperties, PreparedCase

Z_SCORE_RANGE = 2.5

# Mean and standard deviation, for intensities in [0, 1], with which each family of encoders was trained.
# sam: segment-anything's pixel_mean and pixel_std over 255. medsam: none. mini: samunet's own.
INPUT_STATISTICS = {
    "sam": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "medsam": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "mini": ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
}


class EncoderInput:
    """Images of one case, cut and scaled as the plans say.

    Each channel is clipped to `intensity_limits` and scaled to [0, 1]; then the tile is scaled so that its longer side
    is the encoder's input size, normalised with the family's mean and standard deviation, and what is outside the image
    is 0.
    """

    def __init__(
        self, case: PreparedCase, dataset_plan: DatasetPlan, plan: EncoderPlan, family: str, step: float | None = None
    ) -> None:
        self.plan = plan
        self.frame = TileFrame(case.image.shape[2:], plan.tile_shape, plan.tile_step if step is None else step)
        self.depth = case.image.shape[1]
        limits = intensity_limits(case.properties, dataset_plan)
        self._image = np.stack(
            [
                _unit_range(channel, low, high)
                for channel, (low, high) in zip(case.image, limits, strict=True)
            ]
        )
        self._inside = np.ones(case.image.shape[2:], np.float32)
        mean, std = INPUT_STATISTICS[family]
        self._mean, self._std = torch.tensor(mean).view(3, 1, 1), torch.tensor(std).view(3, 1, 1)

    @property
    def images_per_pick(self) -> int:
        """Images that one (slice, tile) becomes: one, or one for each channel that is encoded alone."""
        return 1 if self.plan.composition == "rgb" else self._image.shape[0]

    def images(self, picks: Sequence[tuple[int, int]], mirror: Sequence[int] = ()) -> Tensor:
        """Images float32 (B * images_per_pick, 3, S, S) of (slice, tile index) picks.

        Arguments:
            picks: slices and tiles of `frame`.
            mirror: in-plane axes (0 rows, 1 columns) along which each tile is flipped before it is padded to a square.
        """
        tiles = np.concatenate([self._composed(slice_, tile) for slice_, tile in picks])
        inside = np.stack([self.frame.cut(self._inside, tile, 0.0) for _, tile in picks])
        axes = tuple(axis - 2 for axis in mirror)
        image = torch.from_numpy(np.ascontiguousarray(np.flip(tiles, axes)))
        mask = torch.from_numpy(np.ascontiguousarray(np.flip(inside, axes)))[:, None]
        mask = mask.repeat_interleave(self.images_per_pick, 0)
        image, mask = self._scaled(image), self._scaled(mask)
        image = (image - self._mean * mask) / self._std
        size = self.plan.input_size
        return pad(image, (0, size - image.shape[-1], 0, size - image.shape[-2]))

    def _composed(self, slice_: int, tile: int) -> np.ndarray:
        """(images_per_pick, 3, rows, columns) in [0, 1], 0 outside the image."""
        if self.plan.composition == "rgb":
            planes = self._image[:, slice_][None]
        elif self.plan.composition == "repeat":
            planes = np.repeat(self._image[:, slice_][:, None], 3, axis=1)
        else:
            near = np.clip([slice_ - 1, slice_, slice_ + 1], 0, self.depth - 1)
            planes = self._image[:, near]
        return self.frame.cut(planes, tile, 0.0)

    def _scaled(self, image: Tensor) -> Tensor:
        size, shrinks = image_size(self.plan), max(self.plan.tile_shape) > self.plan.input_size
        return interpolate(image, size, mode="bilinear", align_corners=False, antialias=shrinks)


def image_size(plan: EncoderPlan) -> tuple[int, int]:
    """Rows and columns of an image that a tile covers; the rest, up to the encoder's input size, is 0."""
    factor = plan.input_size / max(plan.tile_shape)
    rows, columns = (max(round(side * factor), 1) for side in plan.tile_shape)
    return rows, columns


def intensity_limits(properties: CaseProperties, dataset_plan: DatasetPlan) -> list[tuple[float, float]]:
    """Per channel, the values of the normalised image that become 0 and 1 in the encoder's image.

    z-score: mean -/+ 2.5 standard deviations, the same for every case, which a few very bright voxels cannot shift as
    they shift the 99.5 percentile. CT: the dataset's 0.5 and 99.5 percentiles. Others: those of the case.
    """
    limits = []
    for scheme, statistics, case in zip(
        dataset_plan.normalization, dataset_plan.foreground_intensity, properties.intensity_percentiles, strict=True
    ):
        if scheme == "zscore":
            limits.append((-Z_SCORE_RANGE, Z_SCORE_RANGE))
        elif scheme == "ct":
            mean, std = statistics["mean"], max(statistics["std"], 1e-8)
            low, high = statistics["percentile_00_5"], statistics["percentile_99_5"]
            limits.append(((low - mean) / std, (high - mean) / std))
        else:
            limits.append(case)
    return limits


def _unit_range(channel: np.ndarray, low: float, high: float) -> np.ndarray:
    return ((np.clip(channel, low, high) - low) / max(high - low, 1e-8)).astype(np.float32)
