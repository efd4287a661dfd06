"""Batches of synthetic patients: families of one anatomy, deformed into patients, sliced and rendered."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from samunet.inputs.encoder_input import INPUT_STATISTICS
from samunet.pretraining.anatomy import LABELS, OBJECTS, Anatomies, random_anatomies, random_rotation
from samunet.pretraining.random_numbers import normal, uniform
from samunet.pretraining.rendering import render

COARSER = 2  # neighbouring slices are sampled every so many pixels: they are visible in the image but never a target
ZOOM = (0.5, 1.2)  # half-sides of the cube that a half-side of the image covers
# How much the patients of a family differ in pose and shape, as a fraction of the maxima below. Cropped organs have the
# same position in all patients of a dataset, and position is then informative; whole bodies do not.
SPREAD = (0.1, 1.0)
TILT_DEGREES = 20.0
SCALE = 0.15
SHIFT = 0.08
BEND = 0.08
GROWTH = 0.03
SLICE_STEP = (0.01, 0.08)
SLICE_JITTER = 0.04
PADDED_SHARE = 0.5
SMALLEST_SIDE = 0.6
MERGED_SHARE = 0.2  # of labels that are merged into another one: real regions contain structures without a label


@dataclass(frozen=True)
class Batch:
    """F families x P patients x S slices.

    Arguments:
        images: float (F, P, S, 3, H, H), normalised as family `mini` is, 0 outside the tile.
        labels: uint8 (F, P, S, H, H) of the slice itself.
        clean: float (F, P, S, H, H), the slice before degradation, in [0, 1].
        inside: bool (F, P, H, H), False where the image is padding.
    """

    images: Tensor
    labels: Tensor
    clean: Tensor
    inside: Tensor


@dataclass(frozen=True)
class BatchShape:
    """How many of each, and the images' side in pixels (a multiple of 16)."""

    families: int
    patients: int
    slices: int
    size: int

    @property
    def images(self) -> int:
        """Number of images."""
        return self.families * self.patients * self.slices


def make_batch(shape: BatchShape, seed: int, step: int, device: torch.device | str = "cpu") -> Batch:
    """The batch of (seed, step), reproducible on one kind of device.

    Arguments:
        seed: non-negative; other seeds give other families.
        step: non-negative iteration.
    """
    generator = torch.Generator(device).manual_seed((seed * 1_000_003 + step) % 2**63)
    anatomies = random_anatomies(shape.families, generator)
    spread = uniform(*SPREAD, generator, shape.families, 1, 1)
    coordinates = _coordinates(shape, spread, generator)
    growth = GROWTH * spread * normal(generator, shape.families, shape.patients, OBJECTS)
    labels = _labels(anatomies, coordinates, growth)
    rendering = render(labels, LABELS, shape.patients, generator)
    inside = _inside(shape, generator)
    mean, std = INPUT_STATISTICS["mini"]
    images = (rendering.images - mean[0]) / std[0] * inside[:, None, None]
    lead = (shape.families, shape.patients)
    return Batch(images.unflatten(0, lead), _merged(labels[:, :, 1].unflatten(0, lead), generator),
                 rendering.clean.unflatten(0, lead), inside.unflatten(0, lead))


def _merged(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Labels uint8 (F, P, S, H, H) in which some labels of a family are merged into others."""
    families = len(labels)
    others = torch.randint(LABELS, (families, LABELS), generator=generator, device=labels.device)
    merged = uniform(0, 1, generator, families, LABELS) < MERGED_SHARE
    names = torch.where(merged, others, torch.arange(LABELS, device=labels.device)).to(torch.uint8)
    return names.gather(1, labels.flatten(1).long()).view(labels.shape)


def _labels(anatomies: Anatomies, coordinates: Tensor, growth: Tensor) -> Tensor:
    """uint8 (F * P, S, 3, H, H) at `coordinates` (F, P, S, 3, H, H, 3), neighbouring slices at a coarser grid."""
    families, patients, slices, _, side, _, _ = coordinates.shape
    centre = anatomies.labels(coordinates[:, :, :, 1].flatten(1, 2), growth.repeat_interleave(slices, 1))
    beside = coordinates[:, :, :, ::2].unflatten(4, (-1, COARSER)).unflatten(6, (-1, COARSER)).mean((5, 7))
    beside = anatomies.labels(beside.flatten(1, 3), growth.repeat_interleave(slices * 2, 1))
    beside = beside.repeat_interleave(COARSER, 2).repeat_interleave(COARSER, 3)
    beside = beside.view(families * patients, slices, 2, side, side)
    return torch.stack([beside[:, :, 0], centre.view(families * patients, slices, side, side), beside[:, :, 1]], 2)


def _coordinates(shape: BatchShape, spread: Tensor, generator: torch.Generator) -> Tensor:
    """Position in its anatomy of each point of each slice: float (F, P, S, 3, H, H, 3), last axis (x, y, z).

    A family has one viewing direction, zoom and set of slice positions; a patient adds a small affine map and a smooth
    bend, all times the family's `spread` float (F, 1, 1).
    """
    families, patients, slices = shape.families, shape.patients, shape.slices
    side = shape.size
    axis = (torch.arange(side, device=generator.device) + 0.5) * 2 / side - 1
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    zoom = uniform(*ZOOM, generator, families, 1, 1)
    position = uniform(-0.6, 0.6, generator, families, 1, slices)
    position = position + SLICE_JITTER * spread * normal(generator, families, patients, slices)
    step = uniform(*SLICE_STEP, generator, families, 1, 1)
    depth = torch.stack([position - step, position, position + step], -1).flatten(2)  # (F, P, S * 3)
    depth = depth[..., None, None].expand(*depth.shape, side, side)
    plane = torch.stack([columns, rows]) * zoom[..., None, None]  # (F, 1, 2, h, h)
    plane = plane[:, :, None].expand(families, patients, slices * 3, 2, side, side)
    points = torch.stack([plane[:, :, :, 0], plane[:, :, :, 1], depth], -1)  # (F, P, S * 3, h, h, 3)
    points = points + _bend(points, patients, generator) * spread[..., None, None, None]
    each = spread.repeat_interleave(patients, 0)
    affine = tilt(each, generator) * torch.exp(SCALE * each * uniform(-1, 1, generator, families * patients, 1, 3))
    view = random_rotation(generator, families).repeat_interleave(patients, 0)
    points = torch.einsum("vnhwc,vcd->vnhwd", points.flatten(0, 1), affine @ view)
    centre = uniform(-0.25, 0.25, generator, families, 1, 3) + SHIFT * spread * normal(generator, families, patients, 3)
    points = points + centre.flatten(0, 1)[:, None, None, None]
    return points.clamp(-1, 1).view(families, patients, slices, 3, side, side, 3)


def _bend(points: Tensor, patients: int, generator: torch.Generator) -> Tensor:
    """Each patient's own smooth displacement, one for the plane and varying slowly from slice to slice."""
    families, side = points.shape[0], points.shape[3]
    ends = normal(generator, families * patients * 2, 3, 4, 4) * BEND
    fields = interpolate(ends, (side, side), mode="bicubic", align_corners=True)
    strength = uniform(0.3, 1.0, generator, families, patients, 1, 1, 1, 1)
    fields = fields.view(families, patients, 2, 3, side, side) * strength
    along = (points[:, :, :, :1, :1, 2:] + 1) / 2
    first, last = (fields[:, :, index].permute(0, 1, 3, 4, 2)[:, :, None] for index in (0, 1))
    return (1 - along) * first + along * last


def tilt(spread: Tensor, generator: torch.Generator) -> Tensor:
    """(V, 3, 3) rotations by up to `spread` (V, 1, 1) times TILT_DEGREES about a random axis (Rodrigues' formula)."""
    count, device = len(spread), generator.device
    axis = normalize(normal(generator, count, 3), dim=1)
    angle = math.radians(TILT_DEGREES) * spread * uniform(-1, 1, generator, count, 1, 1)
    cross = torch.zeros(count, 3, 3, device=device)
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    cross = cross - cross.transpose(1, 2)
    return torch.eye(3, device=device) + angle.sin() * cross + (1 - angle.cos()) * cross @ cross


def _inside(shape: BatchShape, generator: torch.Generator) -> Tensor:
    """bool (F * P, H, H): the tile is in the upper left corner, as the encoder's input is padded."""
    volumes, device = shape.families * shape.patients, generator.device
    sides = uniform(SMALLEST_SIDE, 1, generator, volumes, 2)
    # The longer side always fills the square.
    longer = uniform(0, 1, generator, volumes) < 0.5
    sides[longer, 0], sides[~longer, 1] = 1.0, 1.0
    whole = uniform(0, 1, generator, volumes) >= PADDED_SHARE
    sides[whole] = 1.0
    axis = (torch.arange(shape.size, device=device) + 0.5) / shape.size
    return (axis[None, :, None] < sides[:, 0, None, None]) & (axis[None, None, :] < sides[:, 1, None, None])
