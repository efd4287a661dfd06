"""Synthetic patients in 3D: families of one anatomy, deformed into patients, sampled and rendered as volumes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from samunet.planning.volume_rules import VolumePlan
from samunet.pretraining.anatomy import LABELS, OBJECTS, random_anatomies, random_rotation
from samunet.pretraining.batches import BEND, GROWTH, SCALE, SHIFT, SPREAD, ZOOM, tilt
from samunet.pretraining.random_numbers import normal, uniform
from samunet.pretraining.start_rendering import render_volumes

DEPTH_SHIFT = 0.25  # of a volume's depth: volumes of a dataset are cut at any slice
BEND_POINTS = 4  # along each axis


@dataclass(frozen=True)
class Kind:
    """A kind of dataset: the network that its volumes have, and how much farther apart slices are than voxels in one.

    Arguments:
        plan: of shape, strides and kernels.
        slice_distance: lowest and highest, in voxel widths of the plane.
    """

    plan: VolumePlan
    slice_distance: tuple[float, float]

    @property
    def thick(self) -> bool:
        """Whether slices are at least twice as far apart as voxels in the plane."""
        return self.slice_distance[0] >= 2


@dataclass(frozen=True)
class Family:
    """P patients of one anatomy.

    Arguments:
        image: float (P, 1, Z, Y, X), each patient with mean 0 and standard deviation 1.
        labels: uint8 (P, Z, Y, X), of `anatomy.LABELS`.
    """

    image: Tensor
    labels: Tensor


def make_family(kind: Kind, patients: int, generator: torch.Generator) -> Family:
    """Patients that differ in pose, shape, the sizes of their objects, and the slice at which their volume begins."""
    anatomy = random_anatomies(1, generator)
    spread = uniform(*SPREAD, generator, 1)
    coordinates = _coordinates(kind, patients, spread, generator)
    growth = GROWTH * spread * normal(generator, patients, OBJECTS)
    depth = kind.plan.depth
    labels = anatomy.labels(coordinates.flatten(0, 1)[None], growth.repeat_interleave(depth, 0)[None])
    labels = labels[0].unflatten(0, (patients, depth))
    return Family(render_volumes(labels, LABELS, kind.thick, generator), labels)


def bends(patients: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Smooth random fields, float (P, 3, Z, Y, X), with a standard deviation of about 1."""
    ends = normal(generator, patients, 3, BEND_POINTS, BEND_POINTS, BEND_POINTS)
    return interpolate(ends, shape, mode="trilinear", align_corners=True)


def _coordinates(kind: Kind, patients: int, spread: Tensor, generator: torch.Generator) -> Tensor:
    """Position in the anatomy of each voxel, float (P, Z, Y, X, 3) in [-1, 1], last axis (x, y, z).

    A family has one viewing direction, zoom and distance of slices; a patient adds a small affine map, a smooth bend
    and its own first slice.
    """
    shape, device = kind.plan.shape, generator.device
    voxel = uniform(*ZOOM, generator, 1) * 2 / max(shape[1:])
    step = voxel * uniform(*kind.slice_distance, generator, 1)
    axes = [(torch.arange(size, device=device) - (size - 1) / 2) * width
            for size, width in zip(shape, (step, voxel, voxel), strict=True)]
    points = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1).expand(patients, *shape, 3).clone()
    points[..., 2] += (DEPTH_SHIFT * shape[0] * step * uniform(-1, 1, generator, patients))[:, None, None, None]
    strength = BEND * spread * uniform(0.3, 1.0, generator, patients)
    points = points + bends(patients, shape, generator).movedim(1, -1) * strength[:, None, None, None, None]
    scale = torch.exp(SCALE * spread * uniform(-1, 1, generator, patients, 1, 3))
    affine = tilt(spread.expand(patients)[:, None, None], generator) * scale @ random_rotation(generator)
    centre = uniform(-0.25, 0.25, generator, 1, 3) + SHIFT * spread * normal(generator, patients, 3)
    moved = torch.einsum("pzyxc,pcd->pzyxd", points, affine) + centre[:, None, None, None]
    return moved.clamp(-1, 1)


def volume_plan(shape: tuple[int, int, int], strides: tuple[tuple[int, int, int], ...],
                kernels: tuple[tuple[int, int, int], ...]) -> VolumePlan:
    """A plan for a shape that its strides divide; the cells at which embeddings join are not used."""
    steps = tuple(math.prod(stride[axis] for stride in strides) for axis in range(3))
    assert all(size % step == 0 for size, step in zip(shape, steps, strict=True))
    return VolumePlan(shape, shape, strides, kernels, (1, 1, 1), shape)
