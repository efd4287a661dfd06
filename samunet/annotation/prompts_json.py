"""The points and boxes of a session as a prompts file, which samunet_predict --prompts reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from samunet.dataset.geometry import Geometry
from samunet.dataset.grids import affine_mm
from samunet.interaction.actions import Action, Box, Mask, Point


def prompts_content(case: str, actions: Sequence[Action], geometry: Geometry) -> dict[str, Any]:
    """The content of a prompts file for one case: prompts since the last whole mask, which replaced those before.

    Places are voxels (x, y, z) of the file; whole numbers are their middles.

    Arguments:
        geometry: of the array in whose indices (z, y, x) the actions are.
    """
    whole = max((index for index, action in enumerate(actions) if isinstance(action, Mask)), default=-1)
    labels: dict[str, dict[str, list[Any]]] = {}
    for action in actions[whole + 1 :]:
        if isinstance(action, Point):
            (place,) = _in_file([action.place], geometry)
            point = place if action.positive else {"at": place, "positive": False}
            labels.setdefault(action.label, {}).setdefault("points", []).append(point)
        elif isinstance(action, Box):
            ends = np.sort(_in_file([action.low, action.high], geometry), axis=0).tolist()
            labels.setdefault(action.label, {}).setdefault("boxes", []).append({"min": ends[0], "max": ends[1]})
    return {"space": "voxel", "cases": {case: labels}}


def _in_file(places: Sequence[tuple[float, float, float]], geometry: Geometry) -> list[list[float]]:
    """Indices (z, y, x) in the array -> (x, y, z) in the file, whose axes a reader may have turned."""
    given = np.array(places, float)
    if geometry.file is not None:
        to_file = np.linalg.solve(affine_mm(geometry.file), affine_mm(geometry))
        given = np.round(given @ to_file[:3, :3].T + to_file[:3, 3], 6)
    found: list[list[float]] = given[:, ::-1].tolist()
    return found
