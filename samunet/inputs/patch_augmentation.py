"""nnU-Net's augmentation of in-plane patches, by batchgenerators."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
from batchgenerators.transforms.abstract_transforms import AbstractTransform, Compose
from batchgenerators.transforms.color_transforms import (
    BrightnessMultiplicativeTransform,
    ContrastAugmentationTransform,
    GammaTransform,
)
from batchgenerators.transforms.noise_transforms import GaussianBlurTransform, GaussianNoiseTransform
from batchgenerators.transforms.resample_transforms import SimulateLowResolutionTransform
from batchgenerators.transforms.spatial_transforms import MirrorTransform, SpatialTransform

from samunet.dataset.labels import OUTSIDE

LONG_PATCH = 1.5
NARROW_DEGREES, ANY_DEGREES = 15.0, 180.0
SCALE = (0.7, 1.4)


class PatchAugmentation:
    """nnU-Net v2's transforms for 2D patches, with its probabilities and ranges (nnUNetTrainer.get_training_transforms, 2.8.1).

    Rotation and scaling (a fifth of the patches each), noise, blur, brightness, contrast, lower resolution, gamma of the
    inverted and of the plain image, mirroring along both axes. Patches over 1.5 times as long as wide turn by 15 degrees at
    most, others by any angle. The transforms are those of batchgenerators, on which nnU-Net's present ones are modelled.

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
            seed: keys all draws.

        Returns:
            image float32 (C, rows, columns) and labels int16 (rows, columns).
        """
        seed_batchgenerators(seed)
        made = self._transforms(data=image[None], seg=labels[None, None].astype(np.float32))
        patch, segmentation = made["data"][0].astype(np.float32), made["seg"][0, 0].astype(np.int16)
        patch[self._masked] *= segmentation != OUTSIDE
        return patch, segmentation


def seed_batchgenerators(key: Sequence[int]) -> None:
    """Seed the global generators of `random` and NumPy, from which batchgenerators draws and nothing else in samunet does."""
    word = int(np.random.SeedSequence(list(key)).generate_state(1)[0])
    random.seed(word)
    np.random.seed(word)


def _region(patch: tuple[int, int], degrees: float) -> tuple[int, int]:
    """(rows, columns) that hold the patch's source however it is turned and scaled."""
    rows, columns = patch
    if degrees > 90:
        rows = columns = math.ceil(SCALE[1] * math.hypot(rows, columns))
        return rows, columns
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (math.ceil(SCALE[1] * (rows * cosine + columns * sine)), math.ceil(SCALE[1] * (columns * cosine + rows * sine)))


def _transforms(patch: tuple[int, int], angle: float) -> AbstractTransform:
    return Compose([
        SpatialTransform(
            patch, do_elastic_deform=False, do_rotation=True, angle_x=(-angle, angle), p_rot_per_sample=0.2, do_scale=True,
            scale=SCALE, p_scale_per_sample=0.2, random_crop=False, border_mode_data="constant", border_cval_data=0,
            order_data=3, border_mode_seg="constant", border_cval_seg=OUTSIDE, order_seg=1),
        *intensity_transforms(),
        MirrorTransform((0, 1)),
    ])


def intensity_transforms() -> list[AbstractTransform]:
    """Noise, blur, brightness, contrast, lower resolution and gamma, with nnU-Net's probabilities and ranges."""
    return [
        GaussianNoiseTransform(noise_variance=(0, 0.1), p_per_sample=0.1),
        GaussianBlurTransform((0.5, 1.0), different_sigma_per_channel=True, p_per_sample=0.2, p_per_channel=0.5),
        BrightnessMultiplicativeTransform((0.75, 1.25), p_per_sample=0.15),
        ContrastAugmentationTransform((0.75, 1.25), p_per_sample=0.15),
        SimulateLowResolutionTransform((0.5, 1), per_channel=True, p_per_channel=0.5, order_downsample=0, order_upsample=3,
                                       p_per_sample=0.25),
        GammaTransform((0.7, 1.5), invert_image=True, per_channel=True, retain_stats=True, p_per_sample=0.1),
        GammaTransform((0.7, 1.5), invert_image=False, per_channel=True, retain_stats=True, p_per_sample=0.3),
    ]
