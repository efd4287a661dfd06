"""Images of labelled slices: random contrast, texture, bias, partial volume, noise and resolution, after SynthSeg."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from samunet.pretraining.random_numbers import normal, uniform

# The three channels of an image: the slices before, at and after it; the slice three times; three contrasts of it.
NEIGHBOURS, REPEAT, RGB = 0, 1, 2
COMPOSITION_SHARE = (0.55, 0.25, 0.20)
SHARED_SHARE = 0.7  # of families with one imaging protocol, like one dataset; in the others each patient has its own
CONTRAST_JITTER = 0.04
HIDDEN_SHARE = 0.25  # of labels with the intensity of another one: only position and surroundings separate them
TEXTURE = 0.12
BIAS = 0.4
NOISE = 0.10
COARSEST = 6  # images are downsampled by a factor from 1 to this, then upsampled
RANGE = (1.6, 3.2)  # standard deviations around the mean that are mapped to [0, 1]
GAMMA = (0.7, 1.4)


@dataclass(frozen=True)
class Rendering:
    """Images float (V, S, 3, H, W) in [0, 1], and the middle slice (V, S, H, W) without texture or noise."""

    images: Tensor
    clean: Tensor


def render(labels: Tensor, label_count: int, patients: int, generator: torch.Generator) -> Rendering:
    """Render V volumes of S slices; a family has one protocol (contrast, degradation), or each volume has its own.

    After SynthSeg (Billot et al., MedIA 86:102789, section 3.2): a Gaussian for each label, smoothed texture, a bias
    field, lowered resolution and intensity augmentation.

    Arguments:
        labels: uint8 (V, S, 3, H, W): the slice before, the slice, the slice after.
        label_count: number of labels.
        patients: number of consecutive volumes that are one family.
    """
    protocol = protocols(len(labels), patients, generator)
    composition = _choices(COMPOSITION_SHARE, len(labels), generator)[protocol]
    alone = composition != NEIGHBOURS
    labels = torch.where(alone[:, None, None, None, None], labels[:, :, 1:2], labels).long()
    contrast = contrasts(composition == RGB, label_count, protocol, generator)
    image = torch.stack([_looked_up(contrast[:, channel], labels[:, :, channel]) for channel in range(3)], 2)
    clean = torch.where((composition == RGB)[:, None, None, None], image.mean(2), image[:, :, 1])
    image = image + _texture(labels, label_count, alone, protocol, generator)
    image = _degraded(image * _bias(labels, generator), composition, protocol, generator)
    return _scaled(image, clean, protocol, generator)


def protocols(volumes: int, patients: int, generator: torch.Generator) -> Tensor:
    """int (V,): index of the volume whose protocol each volume uses, the family's first or its own."""
    own = torch.arange(volumes, device=generator.device)
    first = own - own % patients
    shared = uniform(0, 1, generator, volumes // patients).repeat_interleave(patients) < SHARED_SHARE
    return torch.where(shared, first, own)


def _choices(shares: tuple[float, ...], count: int, generator: torch.Generator) -> Tensor:
    weights = torch.tensor(shares, device=generator.device)
    return torch.multinomial(weights, count, replacement=True, generator=generator)


def contrasts(coloured: Tensor, label_count: int, protocol: Tensor, generator: torch.Generator) -> Tensor:
    """(V, 3, label_count) mean intensities; the three channels differ in coloured images only."""
    contrast = uniform(0, 1, generator, len(coloured), 3, label_count)
    others = torch.randint(label_count, (len(coloured), 1, label_count), generator=generator, device=contrast.device)
    hidden = uniform(0, 1, generator, len(coloured), 1, label_count) < HIDDEN_SHARE
    contrast = torch.where(hidden, contrast.gather(2, others.expand_as(contrast)), contrast)[protocol]
    contrast = contrast + CONTRAST_JITTER * normal(generator, *contrast.shape)
    return torch.where(coloured[:, None, None], contrast, contrast[:, :1])


def _looked_up(table: Tensor, labels: Tensor) -> Tensor:
    """table (V, L) by labels (V, S, H, W)."""
    return table.gather(1, labels.flatten(1)).view(labels.shape)


def _texture(
    labels: Tensor, label_count: int, alone: Tensor, protocol: Tensor, generator: torch.Generator
) -> Tensor:
    """Smooth noise with a strength for each label; the channels share the noise if they show one slice."""
    volumes, slices, channels, rows, columns = labels.shape
    texture = torch.zeros(volumes, slices, channels, rows, columns, device=labels.device)
    for scale in (2, 8):
        shape = (volumes, slices * channels, rows // scale, columns // scale)
        noise = normal(generator, *shape)
        noise = interpolate(noise, (rows, columns), mode="bilinear", align_corners=False).view(labels.shape)
        noise = torch.where(alone[:, None, None, None, None], noise[:, :, 1:2], noise)
        strength = uniform(0, TEXTURE, generator, volumes, label_count) * uniform(0, 1, generator, volumes, 1)
        strength = strength[protocol]
        texture += noise * _looked_up(strength, labels.flatten(1, 2)).view(labels.shape)
    return texture


def _bias(labels: Tensor, generator: torch.Generator) -> Tensor:
    """(V, S, 1, H, W), a smooth positive gain."""
    volumes, _, _, rows, columns = labels.shape
    coarse = normal(generator, volumes, 1, 3, 3)
    field = interpolate(coarse, (rows, columns), mode="bicubic", align_corners=True)
    return torch.exp(field * uniform(0, BIAS, generator, volumes, 1, 1, 1))[:, :, None]


def _degraded(image: Tensor, composition: Tensor, protocol: Tensor, generator: torch.Generator) -> Tensor:
    """Partial volume between slices, lowered resolution, noise at that resolution."""
    volumes = len(image)
    alone = composition != NEIGHBOURS
    thick = torch.where(alone, torch.zeros(1, device=image.device), uniform(0, 0.3, generator, volumes)[protocol])
    thick = thick[:, None, None, None, None]
    image = (1 - thick) * image + thick * image.mean(2, keepdim=True)
    soft = uniform(0, 1, generator, volumes)[protocol, None, None, None]
    flat = image.flatten(1, 2)
    flat = (1 - soft) * flat + soft * avg_pool2d(flat, 3, 1, 1, count_include_pad=False)
    factors = torch.randint(1, COARSEST + 1, (volumes,), generator=generator, device=image.device)[protocol].tolist()
    noise = (uniform(0, NOISE, generator, volumes) * uniform(0, 1, generator, volumes))[protocol].tolist()
    repeated = (composition == REPEAT).tolist()
    rows, columns = image.shape[-2:]
    for index, factor in enumerate(factors):
        low = flat[index : index + 1]
        if factor > 1:
            low = interpolate(low, (rows // factor, columns // factor), mode="area")
        grain = normal(generator, *low.shape).unflatten(1, (-1, 3))
        if repeated[index]:
            grain = grain[:, :, 1:2].expand_as(grain)  # one slice three times has one noise
        low = low + noise[index] * grain.flatten(1, 2)
        flat[index] = interpolate(low, (rows, columns), mode="bilinear", align_corners=False)[0]
    return flat.view(image.shape)


def _scaled(image: Tensor, clean: Tensor, protocol: Tensor, generator: torch.Generator) -> Rendering:
    """Map mean -/+ some standard deviations of each volume to [0, 1], then gamma; the same for the clean slice."""
    volumes = len(image)
    mean = image.mean((1, 2, 3, 4))
    spread = image.std((1, 2, 3, 4)).clamp_min(1e-3) * uniform(*RANGE, generator, volumes)[protocol]
    low, high = torch.tensor(GAMMA).log().tolist()
    gamma = torch.exp(uniform(low, high, generator, volumes))[protocol]

    def curve(values: Tensor) -> Tensor:
        shape = (volumes,) + (1,) * (values.ndim - 1)
        unit = ((values - mean.view(shape)) / (2 * spread.view(shape)) + 0.5).clamp(0, 1)
        return unit ** gamma.view(shape)

    return Rendering(curve(image), curve(clean))
