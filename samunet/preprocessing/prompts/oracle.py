"""Prompts taken from a case's own label, as a perfect user would give them. Results that use them say so."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from samunet.dataset.labels import LabelSpace
from samunet.preprocessing.prompts.case_prompts import CasePrompts, LabelPrompts
from samunet.preprocessing.prompts.kinds import POINTS


def oracle_prompts(
    segmentation: np.ndarray, labels: LabelSpace, kind: str, seed: int, name: str, box_relax: float = 0.0
) -> CasePrompts:
    """Prompts of `kind` for every label or region of a case.

    Points are picked among the object's voxels, for each slice and class apart, keyed by (seed, case, slice, class):
    the same on every machine, whatever else is requested. Boxes are tight, on the outer edges of the object's voxels.

    Arguments:
        segmentation: label values int16 (Z, Y, X) on the plan's grid.
        kind: one of PROMPT_KINDS.
        name: the case's.
        box_relax: percent of a box's extent by which each of its sides is moved outwards; a slice's box grows in its
            plane.
    """
    prompts: dict[Any, Any] = {}
    for index, label in enumerate(labels.foreground):
        mask = labels.mask(segmentation, label)
        slices = [int(slice_) for slice_ in np.flatnonzero(mask.any((1, 2)))]
        if kind in POINTS:
            keys = {slice_: [seed, zlib.crc32(name.encode()), slice_, index] for slice_ in slices}
            points = [_points_in(mask[slice_], slice_, POINTS[kind], key) for slice_, key in keys.items()]
            prompts[label] = LabelPrompts(points=np.concatenate([np.zeros((0, 3)), *points]))
        else:
            flat = kind == "slice_box"
            parts = [(slice_, mask[slice_][None]) for slice_ in slices] if flat else [(0, mask)] * bool(slices)
            boxes = np.reshape([_tight(part) + [first, 0, 0] for first, part in parts], (-1, 2, 3))
            axes = (0, 1, 1) if flat else (1, 1, 1)
            prompts[label] = LabelPrompts(boxes=relaxed(boxes, box_relax, axes, segmentation.shape))
    return prompts


def relaxed(boxes: np.ndarray, percent: float, axes: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """Boxes float64 (M, 2, 3), each side `percent` of its extent farther out along `axes` of 1, cut to `shape`."""
    out = (boxes[:, 1] - boxes[:, 0]) * (percent / 100) * np.asarray(axes)
    return np.clip(np.stack([boxes[:, 0] - out, boxes[:, 1] + out], 1), 0, shape)


def _points_in(mask: np.ndarray, slice_: int, count: int, key: list[int]) -> np.ndarray:
    """At most `count` different voxels of `mask` (Y, X), their middles as (z, y, x) float64 (N, 3)."""
    voxels = np.argwhere(mask)
    chosen = np.random.default_rng(key).choice(len(voxels), min(count, len(voxels)), replace=False)
    return np.insert(voxels[chosen], 0, slice_, axis=1) + 0.5


def _tight(mask: np.ndarray) -> np.ndarray:
    """The tight box of `mask` (Z, Y, X), float64 (2, 3)."""
    voxels = np.argwhere(mask)
    return np.stack([voxels.min(0), voxels.max(0) + 1]).astype(float)
