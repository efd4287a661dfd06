"""The kinds of prompts that can be derived from a label. Imports nothing heavy, so that help stays fast."""

from __future__ import annotations

PROMPT_KINDS = {
    "point": "one point for each slice and class",
    "points10": "ten points for each slice and class, fewer where it has fewer voxels",
    "slice_box": "the tight box of each slice and class",
    "box3d": "one tight 3D box for each class",
}
DEFAULT_KIND = "point"
POINTS = {"point": 1, "points10": 10}


def places_of(kind: str) -> str:
    """What prompts of `kind` are: `points` or `boxes`."""
    return "points" if kind in POINTS else "boxes"


def oracle_name(kind: str, box_relax: float | None) -> str:
    """An oracle as every table calls it: `box3d`, or `box3d relaxed 10 %`."""
    return f"{kind} relaxed {box_relax:g} %" if box_relax else kind
