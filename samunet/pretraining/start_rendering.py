"""Images of labelled volumes: random contrast, texture, bias, partial volume, noise and resolution, in 3D."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool3d, interpolate

from samunet.pretraining.random_numbers import normal, uniform
from samunet.pretraining.rendering import BIAS, GAMMA, NOISE, RANGE, TEXTURE, contrasts, protocols

COARSEST = 3  # volumes have fewer voxels than the images of `rendering`
TEXTURE_SCALES = (2, 8)


def render_volumes(labels: Tensor, label_count: int, thick: bool, generator: torch.Generator) -> Tensor:
    """Render the volumes of one family, which has one protocol (contrast, degradation), or each volume has its own.

    As `rendering.render` does for slices, after SynthSeg (Billot et al., MedIA 86:102789, section 3.2); texture and
    noise of thick slices are independent from slice to slice.

    Arguments:
        labels: uint8 (P, Z, Y, X).
        label_count: number of labels.
        thick: whether slices are farther apart than voxels in the plane.

    Returns:
        float (P, 1, Z, Y, X), each volume with mean 0 and standard deviation 1.
    """
    volumes = len(labels)
    protocol = protocols(volumes, volumes, generator)
    grey = torch.zeros(volumes, dtype=torch.bool, device=labels.device)
    contrast = contrasts(grey, label_count, protocol, generator)[:, 0]
    flat = labels.long().flatten(1)
    image = contrast.gather(1, flat).view(volumes, 1, *labels.shape[1:])
    strength = uniform(0, TEXTURE, generator, volumes, label_count) * uniform(0, 1, generator, volumes, 1)
    image = image + strength[protocol].gather(1, flat).view(image.shape) * _texture(image.shape, thick, generator)
    gain = interpolate(normal(generator, volumes, 1, 3, 3, 3), image.shape[2:], mode="trilinear", align_corners=True)
    image = image * torch.exp(gain * uniform(0, BIAS, generator, volumes, 1, 1, 1, 1))
    return _scaled(_degraded(image, protocol, thick, generator), protocol, generator)


def _texture(shape: torch.Size, thick: bool, generator: torch.Generator) -> Tensor:
    volumes, _, *size = shape
    texture = torch.zeros(shape, device=generator.device)
    for scale in TEXTURE_SCALES:
        noise = normal(generator, volumes, 1, *_coarser(size, scale, thick))
        texture += interpolate(noise, size, mode="trilinear", align_corners=False)
    return texture


def _coarser(size: list[int], scale: int, thick: bool) -> list[int]:
    """`size` at a resolution that is lower by `scale`; that of thick slices stays along the first axis."""
    return [count if thick and axis == 0 else max(count // scale, 1) for axis, count in enumerate(size)]


def _degraded(image: Tensor, protocol: Tensor, thick: bool, generator: torch.Generator) -> Tensor:
    """Partial volume, lowered resolution, noise at that resolution."""
    volumes, size = len(image), list(image.shape[2:])
    window, padding = ((1, 3, 3), (0, 1, 1)) if thick else ((3, 3, 3), (1, 1, 1))
    soft = uniform(0, 1, generator, volumes)[protocol, None, None, None, None]
    image = (1 - soft) * image + soft * avg_pool3d(image, window, 1, padding, count_include_pad=False)
    factors = torch.randint(1, COARSEST + 1, (volumes,), generator=generator, device=image.device)[protocol].tolist()
    noise = (uniform(0, NOISE, generator, volumes) * uniform(0, 1, generator, volumes))[protocol].tolist()
    degraded = []
    for index, factor in enumerate(factors):
        low = interpolate(image[index : index + 1], _coarser(size, factor, thick), mode="area")
        low = low + noise[index] * normal(generator, *low.shape)
        degraded.append(interpolate(low, size, mode="trilinear", align_corners=False))
    return torch.cat(degraded)


def _scaled(image: Tensor, protocol: Tensor, generator: torch.Generator) -> Tensor:
    """A contrast curve, then mean 0 and standard deviation 1 of each volume."""
    volumes = len(image)
    std, mean = torch.std_mean(image, (1, 2, 3, 4), keepdim=True)
    width = 2 * std.clamp_min(1e-3) * uniform(*RANGE, generator, volumes)[protocol, None, None, None, None]
    low, high = torch.tensor(GAMMA).log().tolist()
    gamma = torch.exp(uniform(low, high, generator, volumes))[protocol, None, None, None, None]
    image = ((image - mean) / width + 0.5).clamp(0, 1) ** gamma
    std, mean = torch.std_mean(image, (1, 2, 3, 4), keepdim=True)
    return (image - mean) / std.clamp_min(1e-6)
