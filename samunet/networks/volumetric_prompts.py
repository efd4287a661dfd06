"""Prompts of volumetric queries as tensors, and as maps over the voxels beside the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

MAPS = 4  # previous mask, positive clicks, negative clicks, boxes
NEGATIVE, POSITIVE, PADDING = 0, 1, -1  # polarity of a point


@dataclass(frozen=True)
class PromptTensors:
    """Prompts of B queries on one patch each, every query being for one class.

    Arguments:
        classes: int64 (B,), 0 to F - 1.
        points: float32 (B, P, 3), voxels (z, y, x) of the patch; the middle of voxel i is i + 0.5. They may lie outside
            the patch. P may be 0.
        polarity: int64 (B, P): POSITIVE, NEGATIVE or PADDING.
        boxes: float32 (B, Q, 2, 3), lower and upper corners in the same coordinates; NaN is padding. Q may be 0.
        previous: float32 (B, Z, Y, X) in 0 to 1: the mask to correct, zeros where there is none.
        tokens: float32 (B, P, N), features of the points where they were sampled from another patch; None: sampled from
            this one.
    """

    classes: Tensor
    points: Tensor
    polarity: Tensor
    boxes: Tensor
    previous: Tensor
    tokens: Tensor | None = None


def prompt_maps(prompts: PromptTensors, token: tuple[int, int, int]) -> Tensor:
    """Previous mask, positive clicks, negative clicks and boxes over the patch: float32 (B, MAPS, Z, Y, X) in 0 to 1.

    A click is a Gaussian whose standard deviation along each axis is half a token; clicks of one polarity are added up
    and cut at 1. A voxel's value in the map of boxes is the part of it that is inside a box.
    """
    shape = prompts.previous.shape[1:]
    clicks = [_profiles(prompts.points[..., axis], size, token[axis] / 2) for axis, size in enumerate(shape)]
    boxes = prompts.boxes.nan_to_num(0.0)  # padding becomes a box without content
    inside = [_coverage(boxes[..., axis], size) for axis, size in enumerate(shape)]
    maps = [prompts.previous.float()]
    for polarity in (POSITIVE, NEGATIVE):
        maps.append(_summed(clicks, (prompts.polarity == polarity).float()))
    maps.append(_summed(inside, torch.ones_like(boxes[..., 0, 0])))
    return torch.stack(maps, 1)


def features_at(level: Tensor, places: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Features at places: trilinear, without aligned corners; a place outside the patch is moved to its border.

    Arguments:
        level: float (B, N, d, h, w), or (1, N, d, h, w) for all places.
        places: float (B, P, 3), voxels (z, y, x) of the patch, the middle of voxel i being i + 0.5.
        patch: voxels (z, y, x) that the level covers.

    Returns:
        float32 (B, P, N).
    """
    sides = torch.tensor(patch, dtype=places.dtype, device=places.device)
    where = (2 * places / sides - 1).flip(-1)  # grid_sample's order is (x, y, z)
    if len(level) == 1:  # one level for all: the places of all queries are sampled together
        found = _sampled(level.float(), where.flatten(0, 1)[None])
        return found[0].view(*places.shape[:2], level.shape[1])
    return _sampled(level.float(), where)


def _sampled(level: Tensor, where: Tensor) -> Tensor:
    found = functional.grid_sample(level, where[:, :, None, None].float(), mode="bilinear", padding_mode="border",
                                   align_corners=False)
    return found[..., 0, 0].transpose(1, 2)


def _profiles(places: Tensor, size: int, deviation: float) -> Tensor:
    """Gaussians (B, P, size) of height 1 around places (B, P) along an axis."""
    middles = torch.arange(size, dtype=torch.float32, device=places.device) + 0.5
    return (-((places.float()[..., None] - middles) / deviation).square() / 2).exp()


def _coverage(sides: Tensor, size: int) -> Tensor:
    """Part of each of `size` voxels that is between the sides (B, Q, 2) of boxes along an axis: (B, Q, size)."""
    starts = torch.arange(size, dtype=torch.float32, device=sides.device)
    low, high = sides[..., 0, None].float(), sides[..., 1, None].float()
    return (torch.minimum(high, starts + 1) - torch.maximum(low, starts)).clamp_min(0)


def _summed(profiles: list[Tensor], weights: Tensor) -> Tensor:
    """Sum over P of the products of profiles (B, P, Z), (B, P, Y), (B, P, X), at most 1: (B, Z, Y, X)."""
    depth, rows, columns = profiles
    planes = ((depth * weights[..., None])[..., :, None] * rows[..., None, :]).flatten(2)
    with torch.autocast(planes.device.type, enabled=False):  # bfloat16 would round places of clicks near each other
        return (planes.transpose(1, 2) @ columns).unflatten(1, (depth.shape[2], rows.shape[2])).clamp_max(1)
