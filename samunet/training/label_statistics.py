"""How large the labelled objects are, from a run's own training cases: never from cases that it must not see."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from samunet.console import say
from samunet.dataset.labels import LabelSpace
from samunet.planning.encoder_spec import PATCH_SIZE
from samunet.planning.plans import EncoderPlan

FEWEST_TOKENS = 2.0


def voxels_per_token(section: EncoderPlan, *, of_patches_3d: bool = False) -> float:
    """Side in voxels of the square that one token of the encoder covers in-plane, of tiles or of 3D patches."""
    if of_patches_3d and section.patches_3d is not None:
        return float(max(section.patches_3d.token[1:]))
    return max(section.tile_shape) * PATCH_SIZE / section.input_size


def case_statistics(segmentation: np.ndarray, labels: LabelSpace, token_voxels: float) -> dict[str, Any]:
    """Figures for each foreground class of one case.

    Arguments:
        segmentation: int16 (Z, Y, X) on the plan's grid.
        token_voxels: see `voxels_per_token`.

    Returns:
        name -> {"voxels_per_slice": counts over Z, "voxels": their sum, "in_plane_extent_voxels": side of the square
        that has the median area over the slices with the class, "in_plane_extent_tokens"}; extents are None where it is
        absent.
    """
    figures: dict[str, Any] = {}
    for label in labels.foreground:
        counts = labels.mask(segmentation, label).sum(axis=(1, 2))
        extent = math.sqrt(float(np.median(counts[counts > 0]))) if counts.any() else None
        figures[labels.name_of(label)] = {
            "voxels_per_slice": counts.tolist(),
            "voxels": int(counts.sum()),
            "in_plane_extent_voxels": extent,
            "in_plane_extent_tokens": None if extent is None else extent / token_voxels,
        }
    return figures


def label_statistics(cases: Mapping[str, dict[str, Any]], labels: LabelSpace, token_voxels: float) -> dict[str, Any]:
    """The content of label_statistics.json: the figures of each case, and their medians over cases."""
    classes: dict[str, Any] = {}
    for label in labels.foreground:
        name = labels.name_of(label)
        present = [figures[name] for figures in cases.values() if figures[name]["voxels"]]
        classes[name] = {"cases": len(present)}
        for key in ("voxels", "in_plane_extent_voxels", "in_plane_extent_tokens"):
            values = [figures[key] for figures in present]
            classes[name][f"median_{key}"] = float(np.median(values)) if values else None
    return {"voxels_per_token": token_voxels, "classes": classes, "cases": dict(cases)}


def warn_of_small_objects(statistics: Mapping[str, Any]) -> None:
    """Say which classes are absent, and which are so small that a frozen encoder's tokens can hardly show them."""
    for name, figures in statistics["classes"].items():
        tokens = figures["median_in_plane_extent_tokens"]
        if tokens is None:
            say(f"warning: no training case holds '{name}'; it cannot be learned")
        elif tokens < FEWEST_TOKENS:
            say(f"warning: '{name}' spans {tokens:.1f} tokens in-plane (median of the training cases); under "
                f"{FEWEST_TOKENS:.0f} its outline will be coarse")
