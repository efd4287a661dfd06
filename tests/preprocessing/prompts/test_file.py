"""Prompts files: places on the plan's grid told by hand, and everything that is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.case import CaseProperties
from samunet.preprocessing.prompts.file import PromptsFile, read_prompts

LABELS = LabelSpace({"background": 0, "liver": 1, "spleen": 2, "ignore": 3})
PLAN = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (2.0, 1.0, 1.0), (4, 20, 20), False, ("CT",), ("ct",), (False,),
                   ({},))
# 20 x 20 x 10 voxels (x, y, z); two rows are cropped away, and slices of 1 mm become 2 mm.
GEOMETRY = Geometry("SimpleITKIO", (10, 20, 20), (1.0, 1.0, 1.0), (100.0, 0.0, 0.0), (-1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))


def properties(geometry: Geometry = GEOMETRY) -> CaseProperties:
    return CaseProperties("a", geometry, (10, 20, 20), ((0, 10), (2, 20), (0, 20)), (10, 18, 20), (5, 18, 20),
                          ((0.0, 1.0),),
                          "", None, {})


def read(folder: Path, prompts: dict, space: str = "voxel") -> PromptsFile:
    path = folder / "prompts.json"
    path.write_text(json.dumps({"space": space, "cases": {"a": prompts}}))
    return read_prompts(path, LABELS)


def test_voxels_are_whole_and_places_in_mm_are_as_they_stand(tmp_path: Path) -> None:
    box = {"min": [3, 4, 2], "max": [6, 9, 5]}
    liver = read(tmp_path, {"liver": {"points": [[3, 4, 2]], "boxes": [box]}}).on_grid(properties(), PLAN)[1]
    assert liver.points.tolist() == [[1.25, 2.5, 3.5]]  # z (2 + 1/2) / 2, y 4 + 1/2 - 2, x 3 + 1/2
    # from the first voxel's outer edge to the last's
    assert liver.boxes.tolist() == [[[1.0, 2.0, 3.0], [3.0, 8.0, 7.0]]]
    # The same places in mm: x runs against the voxels, from 100 on.
    box = {"min": [100 - 6.5, 3.5, 1.5], "max": [100 - 2.5, 9.5, 5.5]}
    again = read(tmp_path, {"liver": {"points": [[97, 4, 2]], "boxes": [box]}}, "world_mm").on_grid(properties(),
                                                                                                    PLAN)[1]
    np.testing.assert_allclose(again.points, liver.points)
    np.testing.assert_allclose(again.boxes, liver.boxes)


def test_a_flat_box_in_mm_is_one_slices(tmp_path: Path) -> None:
    box = {"min": [90, 4, 4], "max": [95, 9, 4]}
    spleen = read(tmp_path, {"spleen": {"boxes": [box]}}, "world_mm").on_grid(properties(), PLAN)[2]
    assert spleen.boxes[0, :, 0].tolist() == [2.25, 2.25]
    assert [len(spleen.on_tile(slice_, (0, 0), (18, 20))[1]) for slice_ in range(5)] == [0, 0, 1, 0, 0]


def test_a_box_in_mm_that_stands_oblique_is_held_whole(tmp_path: Path) -> None:
    quarter = math.pi / 4
    turned = Geometry("SimpleITKIO", (10, 20, 20), (1.0, 1.0, 1.0), (0.0, -10 * math.sqrt(2), 0.0),
                      (math.cos(quarter), -math.sin(quarter), 0, math.sin(quarter), math.cos(quarter), 0, 0, 0, 1.0))
    # A square of 2 mm that stands on its corner on the grid, in the middle of voxel (10, 10).
    box = {"min": [-1, -1, 2], "max": [1, 1, 3]}
    [[low, high]] = read(tmp_path, {"liver": {"boxes": [box]}}, "world_mm").on_grid(properties(turned), PLAN)[1].boxes
    np.testing.assert_allclose((high - low)[1:], 2 * math.sqrt(2))
    np.testing.assert_allclose((high + low)[1:] / 2, [10.5 - 2, 10.5])


def test_boxes_are_cut_to_what_was_not_cropped_away(tmp_path: Path) -> None:
    box = {"min": [-5, -5, -5], "max": [50, 50, 50]}
    liver = read(tmp_path, {"liver": {"boxes": [box]}}).on_grid(properties(), PLAN)[1]
    assert liver.boxes.tolist() == [[[0, 0, 0], [5, 18, 20]]]


@pytest.mark.parametrize(("prompts", "count"), [
    ({"points": [[3, 1, 2]]}, 1),  # in a row that was cropped away
    ({"points": [[20, 4, 2], [3, 4, 10], [3, 4, 2]]}, 2),
    ({"boxes": [{"min": [0, 0, 0], "max": [5, 1, 5]}]}, 1),
    ({"boxes": [{"min": [0, 5, 10], "max": [5, 9, 12]}]}, 1),
])
def test_prompts_outside_the_case_are_refused_with_their_numbers(tmp_path: Path, prompts, count) -> None:
    with pytest.raises(UserError, match="(?s)20x20x10 voxels.*space") as refused:
        read(tmp_path, {"liver": prompts}).on_grid(properties(), PLAN)
    assert str(refused.value).count("must lie inside its image") == count


def test_world_positions_need_a_file_that_knows_where_it_lies(tmp_path: Path) -> None:
    flat = Geometry("NaturalImage2DIO", (10, 20, 20), (999.0, 1.0, 1.0))
    with pytest.raises(UserError, match="know where they lie"):
        read(tmp_path, {"liver": {"points": [[3, 4, 2]]}}, "world_mm").on_grid(properties(flat), PLAN)


def test_every_predicted_case_must_be_named(tmp_path: Path) -> None:
    prompts = read(tmp_path, {})
    prompts.require(["a"])
    assert prompts.on_grid(properties(), PLAN) == {}
    with pytest.raises(UserError, match="(?s)not there: b, c"):
        prompts.require(["c", "a", "b"])


@pytest.mark.parametrize(("content", "message"), [
    ([], "(?s)must hold.*Expected `object`, got `array`"),
    ({"cases": {}}, r"no `space` - at `\$`"),
    ({"space": "voxel", "cases": [], "more": 1}, r"(?s)got `array` - at `\$\.cases`.*unknown `more` - at `\$`"),
    ({"space": "mm", "cases": {}}, r"(?s)voxel.*world_mm.*'mm' - at `\$\.space`"),
    ({"space": "voxel", "cases": {"a": [1]}}, r"got `array` - at `\$\.cases\.a`"),
    ({"space": "voxel", "cases": {"a": {"background": {}}}},
     "(?s)of labels of dataset.json.*background.*liver, spleen"),
    ({"space": "voxel", "cases": {"a": {"ignore": {}}}}, "of labels of dataset.json"),
    ({"space": "voxel", "cases": {"a": {"liver": {"clicks": []}}}}, r"unknown `clicks` - at `\$\.cases\.a\.liver`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"points": [[1, 2]]}}}},
     r"length 3, got 2 - at `\$\.cases\.a\.liver\.points\[0\]`, of \[1, 2\]"),
    ({"space": "voxel", "cases": {"a": {"liver": {"points": [[1, 2, math.nan]]}}}},
     r"not finite - at `\$\.cases\.a\.liver\.points\[0\]\[2\]`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"points": [[1, 2, True]]}}}},
     r"got `bool` - at `\$\.cases\.a\.liver\.points\[0\]\[2\]`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"boxes": [{"min": [1, 2, 3]}]}}}},
     r"no `max` - at `\$\.cases\.a\.liver\.boxes\[0\]`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"boxes": [{"min": [1, 2, 3], "max": [1, 1, 3]}]}}}},
     "(?s)no minimum above.*case a, liver"),
    ({"space": "voxel", "cases": {"a": {"liver": {"points": [[10**400, 1, 1]]}}}},
     r"at `\$\.cases\.a\.liver\.points\[0\]\[0\]`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"points": [[-1.1e9, 1, 1]]}}}}, ">= -1000000000"),
    ({"space": "voxel", "cases": {"a": {"liver": {"points": [[1, 1, None]]}}}}, "got `null`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"points": {"x": 1}}}}},
     r"got `object` - at `\$\.cases\.a\.liver\.points`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"mask": "m.nii.gz"}}}}, "unknown `mask`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"boxes": [{"min": [1, 2, 3], "max": [1, 2, 1e300]}]}}}},
     "<= 1000000000"),
    ({"space": "voxel", "cases": {"a": {"liver": {"boxes": [{"min": [1, 2, 3], "max": [1, 2, 4], "label": 1}]}}}},
     "unknown `label`"),
    ({"space": ["voxel"], "cases": {}}, r"at `\$\.space`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"points": [{"at": [1, 2], "positive": False}]}}}},
     r"length 3, got 2 - at `\$\.cases\.a\.liver\.points\[0\]\.at`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"points": [{"at": [1, 2, 3], "positive": 0}]}}}},
     r"`bool`, got `int` - at `\$\.cases\.a\.liver\.points\[0\]\.positive`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"points": [{"positive": False}]}}}}, "missing required field `at`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"points": [{"at": [1, 2, 3], "negative": True}]}}}}, "`negative`"),
    ({"space": "voxel", "cases": {"a": {"liver": {"points": [{"at": [1, 2, math.nan]}]}}}},
     r"not finite - at `\$\.cases\.a\.liver\.points\[0\]\.at\[2\]`"),
    ({"space": "voxel", "cases": {"a": {}}, "masks": {"a": 3}}, r"`str`, got `int` - at `\$\.masks\.a`"),
    ({"space": "voxel", "cases": {"a": {}}, "masks": {"b": "b.nii.gz"}}, "(?s)of a case of the prompts file.*found: b"),
    ({"space": "voxel", "cases": {"a": {}}, "masks": {"a": "no.nii.gz"}}, "(?s)case a.*no such file: .*no.nii.gz"),
    ({"space": "voxel", "cases": {"a": {}}, "masks": {"a": "a\0.nii.gz"}}, "no such file"),
    ({"space": "voxel", "cases": {"a": {}}, "masks": {"a": "a" * 5000}}, "no such file"),
    ({"space": "mm", "cases": {"a": {"liver": 3}}}, r"(?s)\$\.space.*\$\.cases\.a\.liver"),
])
def test_bad_files_are_refused_with_all_their_faults(tmp_path: Path, content, message) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        read_prompts(path, LABELS)


def test_points_keep_their_order_and_say_whether_they_are_positive(tmp_path: Path) -> None:
    mixed = [[3, 4, 2], {"at": [5, 4, 2], "positive": False}, {"at": [1, 4, 2]}, {"at": [2, 4, 2], "positive": True}]
    prompts = read(tmp_path, {"liver": {"points": mixed}})
    liver = prompts.on_grid(properties(), PLAN)[1]
    assert liver.points[:, 2].tolist() == [3.5, 5.5, 1.5, 2.5] and liver.positive.tolist() == [True, False, True, True]
    assert prompts.kinds == {"points", "negative points"}
    assert read(tmp_path, {"liver": {"points": mixed[1:2]}}).kinds == {"negative points"}
    assert read(tmp_path, {"liver": {"points": mixed[:1], "boxes": [{"min": [3, 4, 2], "max": [6, 9, 5]}]}}).kinds == {
        "points", "boxes"}


def points(count: int) -> dict:
    return {"liver": {"points": [[index % 20, 4, 3] for index in range(count)]}}


def test_a_slice_takes_1000_points_and_a_case_20_000(tmp_path: Path) -> None:
    assert len(read(tmp_path, points(1000)).on_grid(properties(), PLAN)[1].points) == 1000
    with pytest.raises(UserError, match="(?s)at most 1000 points on one slice.*case a.*1001 points"):
        read(tmp_path, points(1001)).on_grid(properties(), PLAN)
    with pytest.raises(UserError, match=r"length <= 20000 - at `\$\.cases\.a\.liver\.points`"):
        read(tmp_path, points(20_001))
    box = {"min": [3, 4, 2], "max": [6, 9, 5]}
    assert len(read(tmp_path, {"liver": {"boxes": [box] * 1000}}).on_grid(properties(), PLAN)[1].boxes) == 1000
    with pytest.raises(UserError, match=r"length <= 1000 - at `\$\.cases\.a\.liver\.boxes`"):
        read(tmp_path, {"liver": {"boxes": [box] * 1001}})


def test_of_many_wrong_places_some_are_shown_and_the_others_counted(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"(?s)points\[9\].*; and 10 more"):
        read(tmp_path, {"liver": {"points": [[1, 2]] * 20}})
    with pytest.raises(UserError, match=r"(?s)6 problems.*\[20.0, 4.0, 2.0\] \(voxel\).*found: 2 more \(voxel\)"):
        read(tmp_path, {"liver": {"points": [[20, 4, 2]] * 7}}).on_grid(properties(), PLAN)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="(?s)--prompts.*no such file"):
        read_prompts(tmp_path / "prompts.json", LABELS)


def test_regions_are_asked_for_by_their_names(tmp_path: Path) -> None:
    regions = LabelSpace({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps({"space": "voxel", "cases": {"a": {"whole": {}, "core": {}}}}))
    assert list(read_prompts(path, regions).cases["a"]) == [(1, 2), 2]
