"""Random anatomies: smooth scalar fields in a cube whose ordering labels every point.

An anatomy is never stored as voxels. Its fields are on a coarse grid and are interpolated linearly at the deformed
coordinates of the slices that a batch needs. So a new anatomy takes milliseconds, and boundaries are smooth at any
resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from samunet.pretraining.random_numbers import integer, normal, uniform

GRID = 40  # samples along each side of the cube [-1, 1]^3
PARTITION = 4  # fields of the background partition
OBJECTS = 10  # painted over it, later over earlier
LABELS = PARTITION + OBJECTS
FAR = 9.0  # value of a field that is nowhere the largest (partition) or nowhere inside (objects)
NEVER_EMPTY = 2  # objects that every anatomy has
# Distances are in half-sides of the cube; an image shows about one to two half-sides.
RADIUS = (0.08, 0.45)
TUBE_RADIUS = (0.03, 0.12)
WALL = (0.025, 0.08)
ROUGHNESS = (0.0, 0.08)


@dataclass(frozen=True)
class Anatomies:
    """F anatomies, one for each family of patients.

    Arguments:
        fields: float (F, LABELS, G, G, G); first PARTITION fields whose largest is the background's label, then signed
            distances of objects, negative inside.
    """

    fields: Tensor

    def labels(self, coordinates: Tensor, growth: Tensor) -> Tensor:
        """Label of every point of some slices.

        Arguments:
            coordinates: float (F, N, H, W, 3) in [-1, 1], last axis (x, y, z); outside, the border's value holds.
            growth: float (F, N, OBJECTS), subtracted from the objects' distances: how much larger each object is here.

        Returns:
            uint8 (F, N, H, W), 0..PARTITION-1 background partition, then objects.
        """
        sampled = grid_sample(self.fields, coordinates, mode="bilinear", padding_mode="border", align_corners=True)
        best = sampled[:, 0].clone()
        labels = torch.zeros_like(best, dtype=torch.uint8)
        for index in range(1, PARTITION):
            labels.masked_fill_(sampled[:, index] > best, index)
            torch.maximum(best, sampled[:, index], out=best)
        for index in range(OBJECTS):
            inside = sampled[:, PARTITION + index] < growth[:, :, index, None, None]
            labels.masked_fill_(inside, PARTITION + index)
        return labels


def random_anatomies(families: int, generator: torch.Generator) -> Anatomies:
    """Sample anatomies on the generator's device.

    Each has a partition of 1 to 4 regions of smoothed noise, and 2 to 10 objects: deformed ellipsoids, tubes, and
    objects derived from the previous one: its shell, a nested core, or the half of it on one side of a rough plane,
    which touches the rest.
    """
    device = generator.device
    axis = torch.linspace(-1, 1, GRID, device=device)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1)  # (G, G, G, 3) as (x, y, z)
    return Anatomies(torch.stack([torch.cat([_partition(generator), _objects(points, generator)])
                                  for _ in range(families)]))


def smooth_noise(count: int, cells: int, generator: torch.Generator) -> Tensor:
    """(count, G, G, G) with a standard deviation of about 1, varying over 2 / cells half-sides."""
    coarse = normal(generator, 1, count, cells, cells, cells)
    return interpolate(coarse, (GRID, GRID, GRID), mode="trilinear", align_corners=True)[0] * 1.5


def _partition(generator: torch.Generator) -> Tensor:
    fields = smooth_noise(PARTITION, integer(3, 8, generator), generator)
    fields[integer(1, PARTITION, generator) :] = -FAR
    return fields


def _objects(points: Tensor, generator: torch.Generator) -> Tensor:
    fields = torch.full((OBJECTS, GRID, GRID, GRID), FAR, device=points.device)
    noise = smooth_noise(OBJECTS, integer(4, 9, generator), generator)
    before: Tensor | None = None
    for index in range(integer(NEVER_EMPTY, OBJECTS, generator)):
        rough = noise[index] * uniform(*ROUGHNESS, generator)
        derived = before is not None and bool(uniform(0, 1, generator, 1) < 0.5)
        if derived and before is not None:
            fields[index] = _derived(before, points, rough, generator)
            before = None  # at most one object is derived from another
        elif integer(0, 2, generator) == 0:
            fields[index] = _tube(points, generator) + 0.3 * rough
        else:
            fields[index] = _ellipsoid(points, generator) + rough
            before = fields[index]
    return fields


def _ellipsoid(points: Tensor, generator: torch.Generator) -> Tensor:
    """Signed distance, to first order, to a rotated ellipsoid."""
    radii = uniform(*RADIUS, generator, 1) * torch.exp(uniform(-0.7, 0.7, generator, 3))
    centre = uniform(-0.7, 0.7, generator, 3)
    local = (points - centre) @ random_rotation(generator)
    scaled: Tensor = (local / radii).norm(dim=-1)
    gradient: Tensor = (local / radii**2).norm(dim=-1)
    return (scaled - 1) * scaled / gradient.clamp_min(1e-3)


def _tube(points: Tensor, generator: torch.Generator) -> Tensor:
    """Distance to a bent line through the cube, less a radius."""
    ends = uniform(-1, 1, generator, 3, 3)
    along = torch.linspace(-0.2, 1.2, 20, device=points.device)[:, None]
    line = (1 - along) ** 2 * ends[0] + 2 * along * (1 - along) * ends[1] + along**2 * ends[2]
    return torch.cdist(points.view(-1, 3), line).amin(1).view(points.shape[:3]) - uniform(*TUBE_RADIUS, generator)


def _derived(before: Tensor, points: Tensor, rough: Tensor, generator: torch.Generator) -> Tensor:
    kind = integer(0, 3, generator)
    wall = uniform(*WALL, generator)
    if kind == 0:
        return before.abs() - wall / 2  # a shell
    if kind == 1:
        return before + 2 * wall + 0.5 * rough  # nested in it
    inside = points[before < 0]
    middle = inside.mean(0) if len(inside) else points.new_zeros(3)
    plane = (points - middle) @ random_rotation(generator)[0] + rough
    return torch.maximum(before, plane)  # touches what is left of it


def random_rotation(generator: torch.Generator, count: int | None = None) -> Tensor:
    """(3, 3), or (count, 3, 3): uniform rotations or reflections, by QR of a normal matrix (Stewart 1980)."""
    matrix = normal(generator, count or 1, 3, 3)
    orthogonal, triangular = torch.linalg.qr(matrix)
    rotation: Tensor = orthogonal * torch.diagonal(triangular, dim1=-2, dim2=-1).sign()[:, None, :]
    return rotation if count else rotation[0]
