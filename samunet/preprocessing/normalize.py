"""Intensity normalisation, one function a scheme: nnU-Net v2's rules and constants.

Source of the formulas: nnunetv2/preprocessing/normalization/default_normalization_schemes.py (2.8.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from samunet.errors import UserError

SMALLEST_DIVISOR = 1e-8
LARGEST_MAGNITUDE = 1e18  # float32 holds its square and sums of that


def normalize(
    image: np.ndarray,
    outside: np.ndarray,
    schemes: Sequence[str],
    use_mask: Sequence[bool],
    foreground_intensity: Sequence[Mapping[str, float]],
) -> None:
    """Normalise `image` in place, channel by channel.

    Arguments:
        image: float32 (C, Z, Y, X).
        outside: boolean (Z, Y, X), True outside the non-zero mask (from the image alone, so that a label can
            never change the image it belongs to).
        schemes: `ct`, `zscore`, `rescale_to_0_1`, `rgb_to_0_1` or `nonorm`, one per channel.
        use_mask: per channel, whether `zscore` computes and applies its statistics inside the mask only; the voxels
            outside keep their values.
        foreground_intensity: per channel, nnU-Net's `mean`, `std`, `percentile_00_5` and `percentile_99_5` of the
            dataset's foreground; only `ct` reads it.

    Raises:
        UserError: an RGB channel has values outside 0..255.
    """
    for channel, scheme in enumerate(schemes):
        voxels = image[channel]
        if scheme == "zscore":
            _zscore(voxels, ~outside if use_mask[channel] else None)
        elif scheme == "ct":
            _ct(voxels, foreground_intensity[channel])
        elif scheme == "rescale_to_0_1":
            voxels -= voxels.min()
            voxels /= max(voxels.max(), SMALLEST_DIVISOR)
        elif scheme == "rgb_to_0_1":
            _rgb(voxels)
        elif scheme != "nonorm":
            raise ValueError(f"unknown normalisation scheme {scheme!r} of channel {channel}")


def require_bounded(image: np.ndarray, files: Sequence[Path]) -> None:
    """Refuse a preprocessed image float32 (C, Z, Y, X) with which float32 cannot compute.

    Arguments:
        files: of the image, one for each channel or one for all.

    Raises:
        UserError: a magnitude above 1e18, infinity or NaN, as where normalisation overflowed; names the channel's file.
    """
    for channel, voxels in enumerate(image):
        largest = max(float(voxels.max()), -float(voxels.min()))
        if not largest <= LARGEST_MAGNITUDE:
            raise UserError("An image's normalised intensities must be finite, and at most "
                        f"{LARGEST_MAGNITUDE:g} in magnitude.",
                            where=files[min(channel, len(files) - 1)], found=f"{largest:g} in channel {channel}",
                            mend="Rescale the image's intensities, or repair what wrote it.")


def _zscore(voxels: np.ndarray, inside: np.ndarray | None) -> None:
    chosen = voxels if inside is None else voxels[inside]
    mean, std = chosen.mean(), chosen.std()
    chosen -= mean
    chosen /= max(std, SMALLEST_DIVISOR)
    if inside is not None:
        voxels[inside] = chosen


def _ct(voxels: np.ndarray, foreground: Mapping[str, float]) -> None:
    np.clip(voxels, foreground["percentile_00_5"], foreground["percentile_99_5"], out=voxels)
    voxels -= foreground["mean"]
    voxels /= max(foreground["std"], SMALLEST_DIVISOR)


def _rgb(voxels: np.ndarray) -> None:
    low, high = float(voxels.min()), float(voxels.max())
    if low < 0 or high > 255:
        raise UserError(
            "A channel named rgb_to_0_1 must have values from 0 to 255.",
            found=f"values from {low:g} to {high:g}",
            mend="Give the channel its true name in dataset.json's `channel_names`, for example zscore.",
        )
    voxels /= 255
