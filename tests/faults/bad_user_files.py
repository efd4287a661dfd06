"""Bad input: the JSON and CSV files that users write: splits, groups, prompts and support slices."""

from __future__ import annotations

from typing import Any

from tests.faults.entry import Check, Entry, anything
from tests.faults.json_edits import NOT_OBJECTS, At, groups_file, splits_file, written

SPLITS: dict[str, Any] = {
    "a fold of a list": [["c0"]], "a fold without val": [{"train": ["c0"]}],
    "cases of text": [{"train": "c0", "val": "c1"}], "cases of numbers": [{"train": [0], "val": [1]}],
    "cases of null": [{"train": [None], "val": ["c1"]}], "an unknown case": [{"train": ["c0", "c99"], "val": ["c1"]}],
    "a case twice": [{"train": ["c0", "c0", "c2"], "val": ["c1"]}],
    "a case twice in val": [{"train": ["c0", "c2"], "val": ["c1", "c1"]}],
    "a case on both sides": [{"train": ["c0", "c1"], "val": ["c1"]}],
    "no training case": [{"train": [], "val": ["c1"]}],
    "a case with a path": [{"train": ["../c0", "c2"], "val": ["c1"]}],
    "an object": {"0": {"train": ["c0"], "val": ["c1"]}}, "a fold of null": [None],
    "cases of objects": [{"train": {"c0": 1}, "val": ["c1"]}],
}
GROUPS_CSV: dict[str, tuple[bytes, bool]] = {
    "nothing": (b"", False), "no header": (b"c0,p0\n", False), "another header": (b"id,who\nc0,p0\n", False),
    "a case missing": (b"case,patient\nc0,p0\n", False),
    "a case under two patients":
        (b"case,patient\n" + b"".join(b"c%d,p%d\n" % (each, each) for each in range(6)) + b"c0,p9\n", False),
    "no patient": (b"case,patient\n" + b"".join(b"c%d,\n" % each for each in range(6)), False),
    "Latin-1": (b"case,patient\nc0,Gr\xfc\xdfe\n", False), "UTF-16": ("case,patient\nc0,p0\n".encode("utf-16"), False),
    "a NUL": (b"case,patient\nc0,p\0\n", False),
    "bars": (b"case|patient\n" + b"".join(b"c%d|p\n" % each for each in range(6)), False),
    "a single line of 200,000 characters": (b"case,patient\n" + b"x" * 200_000, False),
    "fewer fields": (b"case,patient\nc0\nc1\n", False),
    "one patient for all": (b"case,patient\n" + b"".join(b"c%d,p\n" % each for each in range(6)), True),
    "a byte order mark, blanks, line ends of Windows": (
        "\ufeffCase , Patient\r\n".encode() + b"".join(b" c%d , p%d \r\n" % (each, each // 2) for each in range(6)),
        True,
    ),
    "strangers too": (b"case,patient,age\n" + b"".join(b"c%d,p%d,50\n" % (each, each // 2) for each in range(9)), True),
}
POINT, BOX = [6, 6, 3], {"min": [2, 2, 1], "max": [9, 9, 4]}


def _prompts(label: Any, *, space: Any = "voxel", name: str = "A", **more: Any) -> dict[str, Any]:
    return {"space": space, "cases": {"c6": {name: label}, "c7": {}}, **more}


PROMPTS: dict[str, Any] = {
    "an unknown space": _prompts({"points": [POINT]}, space="mm"),
    "a space of a list": _prompts({"points": [POINT]}, space=[]),
    "an unknown key": _prompts({"points": [POINT]}, wish=1), "a case missing": {"space": "voxel", "cases": {"c6": {}}},
    "cases of a list": {"space": "voxel", "cases": []},
    "a case of a list": {"space": "voxel", "cases": {"c6": [], "c7": {}}},
    "an unknown label": _prompts({"points": [POINT]}, name="Z"),
    "background": _prompts({"points": [POINT]}, name="background"), "a label of a list": _prompts([POINT]),
    "an unknown kind": _prompts({"lines": [POINT]}), "points of an object": _prompts({"points": {"0": POINT}}),
    "a point of two numbers": _prompts({"points": [[6, 6]]}),
    "a point of four numbers": _prompts({"points": [[6, 6, 3, 1]]}),
    "a point of text": _prompts({"points": [["6", "6", "3"]]}), "a point of null": _prompts({"points": [None]}),
    "a point of true": _prompts({"points": [[True, 6, 3]]}),
    "a point of NaN": _prompts({"points": [[float("nan"), 6, 3]]}),
    "a point of infinity": _prompts({"points": [[float("inf"), 6, 3]]}),
    "a point outside": _prompts({"points": [[60, 6, 3]]}), "a point of -1": _prompts({"points": [[-1, 6, 3]]}),
    "a point of 400 digits": _prompts({"points": [[10**400, 6, 3]]}),
    "a point of 1e300": _prompts({"points": [[1e300, 6, 3]]}),
    "a box of its minimum": _prompts({"boxes": [{"min": [2, 2, 1]}]}),
    "a box of a list": _prompts({"boxes": [[2, 2, 1, 9, 9, 4]]}),
    "a box upside down": _prompts({"boxes": [{"min": [9, 9, 4], "max": [2, 2, 1]}]}),
    "a box outside": _prompts({"boxes": [{"min": [90, 90, 90], "max": [99, 99, 99]}]}),
    "a box of an unknown key": _prompts({"boxes": [{**BOX, "label": 1}]}),
    "a box of 400 digits": _prompts({"boxes": [{"min": [-(10**400), 0, 0], "max": [9, 9, 4]}]}),
    "a point far away in mm": _prompts({"points": [[1e6, 0, 0]]}, space="world_mm"),
    "100,000 points on a slice": _prompts({"points": [[each % 18, 10, 3] for each in range(100_000)]}),
}
SUPPORT: dict[str, Any] = {
    "an unknown case": {"c99": [2]}, "a slice without a label": {"c0": [0]}, "a slice 99": {"c0": [99]},
    "a slice of -1": {"c0": [-1]}, "a slice of text": {"c0": ["2"]}, "a slice of true": {"c0": [True]},
    "a slice of 2.0": {"c0": [2.0]}, "a slice twice": {"c0": [2, 2]}, "slices of a number": {"c0": 2},
    "no slice": {"c0": []}, "a slice of 30 digits": {"c0": [10**30]},
}


def entries() -> list[Entry]:
    """All entries of this file."""
    made = [Entry("splits", name, written(splits_file, content), ("fit", "plan"), ("splits_final",),
                  _untouched(splits_file))
            for name,
            content in {**NOT_OBJECTS, **SPLITS}.items() if content != b"[]"]  # what planning writes for one patient
    for name, (content, may) in GROUPS_CSV.items():
        make = written(lambda place: place.dataset / "groups.csv", content)
        made.append(Entry("groups", name, lambda place, make=make: (make(place), splits_file(place).unlink()),
                          ("plan",), None if may else ("groups.csv",), anything if may else None))
    for name, content in {
        **NOT_OBJECTS, "patients of objects": {f"c{each}": {} for each in range(6)},
        "patients of numbers": {f"c{each}": each for each in range(6)}, "a case missing": {"c0": "p0"},
    }.items():
        make = written(groups_file, content)
        made.append(Entry("groups", f"kept: {name}",
                          lambda place, make=make: (make(place), splits_file(place).unlink()), ("plan",),
                          ("groups.json",),
                          anything if name in ("an empty object", "a case missing") else None))
    where = ("prompts.json",)
    made += [Entry("prompts", name, written(lambda place: place.path("prompts.json"), content),
                   ("ask", "validate_asked"), where) for name, content in {**NOT_OBJECTS, **PROMPTS}.items()]
    made += [Entry("support", name, written(lambda place: place.path("support.json"), content),
                   ("support",), ("support.json",)) for name, content in {**NOT_OBJECTS, **SUPPORT}.items()]
    return made


def _untouched(at: At) -> Check:
    """Planning writes splits where there are none, and need not read those that are there.

    Training must refuse them.
    """
    return lambda place, base, command: None if command == "plan" else "bad splits were used"
