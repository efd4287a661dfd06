"""nnU-Net's intensity transforms, by batchgenerators, and the seed of its random choices."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from batchgenerators.transforms.abstract_transforms import AbstractTransform


def seed_batchgenerators(key: Sequence[int]) -> None:
    """Seed the global generators of `random` and NumPy, which batchgenerators uses and nothing else in samunet does."""
    word = int(np.random.SeedSequence(list(key)).generate_state(1)[0])
    random.seed(word)
    np.random.seed(word)


def intensity_transforms(*, flat: bool = False) -> list[AbstractTransform]:
    """Noise, blur, brightness, contrast, lower resolution and gamma, with nnU-Net's probabilities and ranges.

    Arguments:
        flat: whether the first axis, of thick slices, keeps its resolution.
    """
    # batchgenerators imports pandas and scipy.signal, which takes a second; heads on cached embeddings do without.
    from batchgenerators.transforms.color_transforms import (
        BrightnessMultiplicativeTransform,
        ContrastAugmentationTransform,
        GammaTransform,
    )
    from batchgenerators.transforms.noise_transforms import GaussianBlurTransform, GaussianNoiseTransform
    from batchgenerators.transforms.resample_transforms import SimulateLowResolutionTransform

    return [
        GaussianNoiseTransform(noise_variance=(0, 0.1), p_per_sample=0.1),
        GaussianBlurTransform((0.5, 1.0), different_sigma_per_channel=True, p_per_sample=0.2, p_per_channel=0.5),
        BrightnessMultiplicativeTransform((0.75, 1.25), p_per_sample=0.15),
        ContrastAugmentationTransform((0.75, 1.25), p_per_sample=0.15),
        SimulateLowResolutionTransform((0.5, 1), per_channel=True, p_per_channel=0.5, order_downsample=0,
                                       order_upsample=3, p_per_sample=0.25, ignore_axes=(0,) if flat else None),
        GammaTransform((0.7, 1.5), invert_image=True, per_channel=True, retain_stats=True, p_per_sample=0.1),
        GammaTransform((0.7, 1.5), invert_image=False, per_channel=True, retain_stats=True, p_per_sample=0.3),
    ]
