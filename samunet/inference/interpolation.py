"""Linear and nearest interpolation along one axis, explicit, so that slices and whole volumes agree bit by bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from samunet.preprocessing.resample import nearest_indices


@dataclass(frozen=True)
class AxisMap:
    """Sources of each voxel of a new axis: `lower[i]` with weight 1 - `weight[i]`, `upper[i]` with `weight[i]`.

    Indices int64, weights float32. Edges of the two axes are aligned: voxel i is at (i + 0.5) * old / new - 0.5 of
    the old axis, clamped to its ends (skimage's `resize` with mode "edge"; nnU-Net's rule for logits).
    """

    size: int
    lower: np.ndarray
    upper: np.ndarray
    weight: np.ndarray

    @classmethod
    def linear(cls, size: int, new_size: int) -> AxisMap:
        """Linear interpolation from `size` to `new_size` voxels."""
        place = np.clip((np.arange(new_size) + 0.5) * (size / new_size) - 0.5, 0, size - 1)
        lower = np.floor(place).astype(np.int64)
        weight = (place - lower).astype(np.float32)
        return cls(size, lower, np.where(weight > 0, np.minimum(lower + 1, size - 1), lower), weight)

    @classmethod
    def nearest(cls, size: int, new_size: int) -> AxisMap:
        """Each voxel from the nearest one, by the rule of preprocessing."""
        index = nearest_indices(size, new_size)
        return cls(size, index, index, np.zeros(new_size, np.float32))

    def part(self, band: slice) -> AxisMap:
        """The map of a part of the new axis."""
        return AxisMap(self.size, self.lower[band], self.upper[band], self.weight[band])

    @property
    def is_identity(self) -> bool:
        """Whether every voxel of the new axis is the same voxel of the old one."""
        return (len(self.lower) == self.size and not self.weight.any()
                and bool((self.lower == np.arange(self.size)).all()))

    def apply(self, array: np.ndarray, axis: int) -> np.ndarray:
        """Interpolate float32 `array` along `axis`. Returns the array itself if nothing changes."""
        if self.is_identity:
            return array
        low = np.take(array, self.lower, axis)
        if not self.weight.any():
            return low
        high = np.take(array, self.upper, axis)
        weight = self.weight.reshape([-1 if place == axis % array.ndim else 1 for place in range(array.ndim)])
        return blend(low, high, weight)


def blend(low: np.ndarray, high: np.ndarray, weight: np.ndarray | np.float32) -> np.ndarray:
    """low * (1 - weight) + high * weight, in float32; overwrites both arrays and returns the first."""
    np.multiply(low, np.float32(1) - weight, out=low)
    np.multiply(high, weight, out=high)
    np.add(low, high, out=low)
    return low
