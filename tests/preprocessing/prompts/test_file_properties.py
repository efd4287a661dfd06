"""Whatever a prompts file holds: it loads to finite places of known labels, or a UserError names the file; and places
lie in the case.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from json_values import REPEATED, VALUES, changed

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import CaseProperties
from samunet.preprocessing.prompts.file import read_prompts

LABELS = LabelSpace({"background": 0, "A": 1, "B": 2})
PLAN = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (6, 20, 18), False, ("MRI",), ("zscore",),
                   (False,), ({},))
GEOMETRY = Geometry("SimpleITKIO", (6, 20, 18), (1.0, 1.0, 1.0), (100.0, 0.0, 0.0), (-1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
PROPERTIES = CaseProperties("c0", GEOMETRY, (6, 20, 18), ((0, 6), (0, 20), (0, 18)), (6, 20, 18), (6, 20, 18),
                            ((0.0, 1.0),), "", None, {})
SOUND = {"space": "voxel", "cases": {"c0": {"A": {"points": [[6, 6, 3], {"at": [7, 7, 3], "positive": False}]},
                                            "B": {"boxes": [{"min": [2, 2, 1], "max": [9, 9, 4]}]}}, "c1": {}},
         "masks": {"c1": "mask.nii.gz"}}


def check(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))
    (path.parent / "mask.nii.gz").touch()
    try:
        prompts = read_prompts(path, LABELS)
        on_grid = prompts.on_grid(PROPERTIES, PLAN) if "c0" in prompts.cases else {}
    except UserError as fault:
        assert str(path) in str(fault)
        return
    assert prompts.space in ("voxel", "world_mm") and prompts.masks.keys() <= prompts.cases.keys()
    for label, given_prompts in on_grid.items():
        assert label in LABELS.foreground
        assert given_prompts.positive.shape == given_prompts.points.shape[:1] and given_prompts.positive.dtype == bool
        assert given_prompts.points.shape[1:] == (3,) and given_prompts.boxes.shape[1:] == (2, 3)
        assert np.isfinite(given_prompts.points).all() and np.isfinite(given_prompts.boxes).all()
        assert ((given_prompts.points >= 0) & (given_prompts.points < PROPERTIES.shape)).all()
        assert (given_prompts.boxes >= 0).all() and (given_prompts.boxes <= PROPERTIES.shape).all()
        assert (given_prompts.boxes[:, 0] <= given_prompts.boxes[:, 1]).all()


@REPEATED
@given(content=changed(SOUND))
def test_a_changed_prompts_file_is_refused_or_lies_in_its_case(tmp_path: Path, content: object) -> None:
    check(tmp_path / "prompts.json", content)


@REPEATED
@given(content=VALUES)
def test_any_json_is_refused(tmp_path: Path, content: object) -> None:
    check(tmp_path / "prompts.json", content)


@REPEATED
@given(points=st.lists(st.tuples(st.integers(0, 17), st.integers(0, 19), st.integers(0, 5)), min_size=1, max_size=5))
def test_a_voxel_is_its_centre_on_its_own_grid(tmp_path: Path, points: list[tuple[int, int, int]]) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"space": "voxel", "cases": {"c0": {"A": {"points": points}}}}))
    on_grid = read_prompts(path, LABELS).on_grid(PROPERTIES, PLAN)
    assert on_grid[1].points.tolist() == [[z + 0.5, y + 0.5, x + 0.5] for x, y, z in points]
