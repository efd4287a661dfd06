"""Bad input: the JSON and CSV files that commands read back, and those that people write: plans, splits, groups, prompts, runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.entry import Check, Entry, anything, edit_json, preprocessed, same_prediction
from tests.faults.place import Place

Make = Callable[[Place], object]
At = Callable[[Place], Path]

NOT_OBJECTS: dict[str, bytes] = {
    "nothing": b"", "no JSON": b"{", "a list": b"[]", "text": b'"x"', "a number": b"7", "null": b"null", "an empty object": b"{}",
    "Latin-1": b'{"a": "\xff"}', "brackets 100,000 deep": b"[" * 100_000, "one key twice": b'{"a": 1, "a": 2}', "binary": bytes(range(256)),
}
WRONG: tuple[Any, ...] = (None, [], {}, "x", -1, 0, 1e30, 10**30, True, [None], ["a", "b", "c"], float("nan"), {"a": 1})


def plans_file(place: Place) -> Path:
    return preprocessed(place, "samunetPlans.json")


def splits_file(place: Place) -> Path:
    return preprocessed(place, "splits_final.json")


def groups_file(place: Place) -> Path:
    return preprocessed(place, "groups.json")


def model(place: Place) -> Path:
    return next(place.root.glob("results/*/label_prior__*"))


def _write(at: At, content: bytes | str | Any) -> Make:
    def make(place: Place) -> None:
        at(place).write_bytes(content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else json.dumps(content).encode())

    return make


def _value(at: At, *keys: str, value: Any) -> Make:
    """Set one value of a JSON file; a key that ends the path may be new."""

    def change(content: dict) -> None:
        inner: Any = content
        for key in keys[:-1]:
            inner = inner[next(iter(inner))] if key == "*" else inner[key]
        inner[keys[-1]] = value

    return lambda place: edit_json(at(place), change)


def _gone(at: At, *keys: str) -> Make:
    def change(content: dict) -> None:
        inner: Any = content
        for key in keys[:-1]:
            inner = inner[next(iter(inner))] if key == "*" else inner[key]
        del inner[keys[-1]]

    return lambda place: edit_json(at(place), change)


def _told(value: Any) -> str:
    return str(value)[:20].replace("\n", " ")


# What each key of a plans file may hold beside what the planner writes; a value that is listed is sound.
DATASET_KEYS: dict[str, tuple[Any, ...]] = {
    "reader": (), "transpose_forward": (), "transpose_backward": (), "spacing_mm": (), "median_shape": (), "anisotropic": (True,), "channel_names": (),
    "normalization": (), "use_mask_for_norm": (), "foreground_intensity": ([],), "reasons": ({}, {"a": 1})}
EMBEDDINGS_KEYS: dict[str, tuple[Any, ...]] = {
    "encoder": ("x",), "input_size": (), "tile_shape": (), "tile_step": (), "composition": (), "batch_size": (), "cache_dtype": (),
    "cache_bytes": (0, 10**30), "head_iterations": (10**30,), "view_pictures": (0, 10**30), "reasons": ({}, {"a": 1})}
HYBRID_KEYS: dict[str, tuple[Any, ...]] = {"depth": (10**30,), "strides": (), "kernels": (), "reasons": ({}, {"a": 1})}
ADAPTERS_KEYS: dict[str, tuple[Any, ...]] = {
    "slices": (), "input_size": (), "batch_size": (10**30,), "micro_batch": (10**30,), "checkpointed": (True,), "training_bytes": (0, 10**30),
    "reasons": ({}, {"a": 1})}
UNET_KEYS: dict[str, tuple[Any, ...]] = {
    "patch": (), "strides": (), "kernels": (), "widths": (), "batch_size": (10**30,), "classes": (10**30,), "reasons": ({}, {"a": 1})}
PLANS_KEYS = ((("dataset",), DATASET_KEYS), (("encoders", "*", "embeddings"), EMBEDDINGS_KEYS), (("encoders", "*", "hybrid"), HYBRID_KEYS),
              (("encoders", "*", "adapters"), ADAPTERS_KEYS), (("unet",), UNET_KEYS))
PLANS_VALUES: dict[str, tuple[tuple[str, ...], Any]] = {
    "spacing 0": (("dataset", "spacing_mm"), [0, 1, 1]), "spacing of two values": (("dataset", "spacing_mm"), [1, 1]), "spacing of text": (("dataset", "spacing_mm"), ["1", "1", "1"]),
    "negative spacing": (("dataset", "spacing_mm"), [-1, 1, 1]), "spacing 1e9": (("dataset", "spacing_mm"), [1e9, 1, 1]), "spacing 1e-9": (("dataset", "spacing_mm"), [1e-9, 1, 1]),
    "an axis twice": (("dataset", "transpose_forward"), [0, 0, 1]), "an axis 3": (("dataset", "transpose_forward"), [0, 1, 3]),
    "axes that do not go back": (("dataset", "transpose_forward"), [1, 2, 0]), "an unknown normalisation": (("dataset", "normalization"), ["evil"]),
    "no normalisation": (("dataset", "normalization"), []), "two normalisations": (("dataset", "normalization"), ["zscore", "zscore"]),
    "CT without intensities": (("dataset", "normalization"), ["ct"]), "no channel": (("dataset", "channel_names"), []), "masks of text": (("dataset", "use_mask_for_norm"), ["no"]),
    "another reader": (("dataset", "reader"), "DicomIO"), "a size of text": (("encoders", "*", "embeddings", "input_size"), "64"), "a size of 65": (("encoders", "*", "embeddings", "input_size"), 65),
    "a size of 10**6": (("encoders", "*", "embeddings", "input_size"), 10**6), "a tile of one side": (("encoders", "*", "embeddings", "tile_shape"), [20]),
    "a tile of nothing": (("encoders", "*", "embeddings", "tile_shape"), [0, 20]), "a tile of fractions": (("encoders", "*", "embeddings", "tile_shape"), [20.5, 18.5]),
    "a tile step of 0": (("encoders", "*", "embeddings", "tile_step"), 0), "a tile step of 2": (("encoders", "*", "embeddings", "tile_step"), 2), "a composition of colour": (("encoders", "*", "embeddings", "composition"), "colour"),
    "a batch of 0": (("encoders", "*", "embeddings", "batch_size"), 0), "a batch of half": (("encoders", "*", "embeddings", "batch_size"), 0.5), "a cache of float64": (("encoders", "*", "embeddings", "cache_dtype"), "float64"),
    "an even depth of -1": (("encoders", "*", "adapters", "slices"), -1), "version 3": (("version",), 3), "version of text": (("version",), "1"), "no encoder": (("encoders",), {}),
    "encoders of a list": (("encoders",), []), "an encoder of a list": (("encoders", "x"), []), "an unknown key": (("wish",), 1), "an unknown key of the dataset": (("dataset", "wish"), 1),
    "an unknown key of an encoder": (("encoders", "*", "wish"), 1), "a name of a list": (("plans_name",), []), "a dataset's name of null": (("dataset_name",), None),
}


def _plans() -> list[Entry]:
    commands, named = ("preprocess", "fit", "train"), ("samunetPlans",)
    made = [Entry("plans", name, _write(plans_file, content), commands, named) for name, content in NOT_OBJECTS.items()]
    for name, (keys, value) in PLANS_VALUES.items():
        # The dataset's part is read by all; an encoder's by those that need it.
        who = ("train",) if name == "no encoder" or keys[0] == "encoders" and keys[-1] in ("encoders",) else commands
        made.append(Entry("plans", name, _value(plans_file, *keys, value=value), who, named))
    for part, keys in PLANS_KEYS:
        for key, sound in keys.items():
            made.append(Entry("plans", f"{part[-1]} without {key}", _gone(plans_file, *part, key), ("preprocess", "train"), named, anything if key == "reasons" else None))
            for value in WRONG:
                if not any(value is each or (value == each and type(value) is type(each)) for each in sound):
                    made.append(Entry("plans, any value", f"{part[-1]}, {key} = {_told(value)}", _value(plans_file, *part, key, value=value), ("train",), named, _unharmed(key, value)))
    return made


AMOUNTS = ("cache_bytes", "head_iterations", "view_pictures", "micro_batch", "training_bytes", "batch_size", "slices", "depth", "classes")


def _unharmed(key: str, value: Any) -> Check | None:
    """An amount of 0 or of 30 digits may be sound."""
    return anything if key in AMOUNTS and value in (0, 10**30, 1e30) and not isinstance(value, bool) else None


SPLITS: dict[str, Any] = {
    "no fold": [], "a fold of a list": [["c0"]], "a fold without val": [{"train": ["c0"]}], "cases of text": [{"train": "c0", "val": "c1"}],
    "cases of numbers": [{"train": [0], "val": [1]}], "cases of null": [{"train": [None], "val": ["c1"]}], "an unknown case": [{"train": ["c0", "c99"], "val": ["c1"]}],
    "a case twice": [{"train": ["c0", "c0", "c2"], "val": ["c1"]}], "a case twice in val": [{"train": ["c0", "c2"], "val": ["c1", "c1"]}],
    "a case on both sides": [{"train": ["c0", "c1"], "val": ["c1"]}], "no training case": [{"train": [], "val": ["c1"]}],
    "a case with a path": [{"train": ["../c0", "c2"], "val": ["c1"]}], "an object": {"0": {"train": ["c0"], "val": ["c1"]}}, "a fold of null": [None],
    "cases of objects": [{"train": {"c0": 1}, "val": ["c1"]}],
}
GROUPS_CSV: dict[str, tuple[bytes, bool]] = {
    "nothing": (b"", False), "no header": (b"c0,p0\n", False), "another header": (b"id,who\nc0,p0\n", False), "a case missing": (b"case,patient\nc0,p0\n", False),
    "a case under two patients": (b"case,patient\n" + b"".join(b"c%d,p%d\n" % (each, each) for each in range(6)) + b"c0,p9\n", False),
    "no patient": (b"case,patient\n" + b"".join(b"c%d,\n" % each for each in range(6)), False), "Latin-1": (b"case,patient\nc0,Gr\xfc\xdfe\n", False), "UTF-16": ("case,patient\nc0,p0\n".encode("utf-16"), False),
    "a NUL": (b"case,patient\nc0,p\0\n", False), "semicolons": (b"case;patient\n" + b"".join(b"c%d;p\n" % each for each in range(6)), False),
    "a single line of 200,000 characters": (b"case,patient\n" + b"x" * 200_000, False), "fewer fields": (b"case,patient\nc0\nc1\n", False),
    "one patient for all": (b"case,patient\n" + b"".join(b"c%d,p\n" % each for each in range(6)), True),
    "a byte order mark, blanks, line ends of Windows": ("\ufeffCase , Patient\r\n".encode() + b"".join(b" c%d , p%d \r\n" % (each, each // 2) for each in range(6)), True),
    "strangers too": (b"case,patient,age\n" + b"".join(b"c%d,p%d,50\n" % (each, each // 2) for each in range(9)), True),
}
POINT, BOX = [6, 6, 3], {"min": [2, 2, 1], "max": [9, 9, 4]}


def _prompts(label: Any, *, space: Any = "voxel", name: str = "A", **more: Any) -> dict[str, Any]:
    return {"space": space, "cases": {"c6": {name: label}, "c7": {}}, **more}


PROMPTS: dict[str, Any] = {
    "an unknown space": _prompts({"points": [POINT]}, space="mm"), "a space of a list": _prompts({"points": [POINT]}, space=[]), "an unknown key": _prompts({"points": [POINT]}, wish=1),
    "a case missing": {"space": "voxel", "cases": {"c6": {}}}, "cases of a list": {"space": "voxel", "cases": []}, "a case of a list": {"space": "voxel", "cases": {"c6": [], "c7": {}}},
    "an unknown label": _prompts({"points": [POINT]}, name="Z"), "background": _prompts({"points": [POINT]}, name="background"), "a label of a list": _prompts([POINT]),
    "an unknown kind": _prompts({"lines": [POINT]}), "points of an object": _prompts({"points": {"0": POINT}}), "a point of two numbers": _prompts({"points": [[6, 6]]}),
    "a point of four numbers": _prompts({"points": [[6, 6, 3, 1]]}), "a point of text": _prompts({"points": [["6", "6", "3"]]}), "a point of null": _prompts({"points": [None]}),
    "a point of true": _prompts({"points": [[True, 6, 3]]}), "a point of NaN": _prompts({"points": [[float("nan"), 6, 3]]}), "a point of infinity": _prompts({"points": [[float("inf"), 6, 3]]}),
    "a point outside": _prompts({"points": [[60, 6, 3]]}), "a point of -1": _prompts({"points": [[-1, 6, 3]]}), "a point of 400 digits": _prompts({"points": [[10**400, 6, 3]]}),
    "a point of 1e300": _prompts({"points": [[1e300, 6, 3]]}), "a box of its minimum": _prompts({"boxes": [{"min": [2, 2, 1]}]}), "a box of a list": _prompts({"boxes": [[2, 2, 1, 9, 9, 4]]}),
    "a box upside down": _prompts({"boxes": [{"min": [9, 9, 4], "max": [2, 2, 1]}]}), "a box outside": _prompts({"boxes": [{"min": [90, 90, 90], "max": [99, 99, 99]}]}),
    "a box of an unknown key": _prompts({"boxes": [{**BOX, "label": 1}]}), "a box of 400 digits": _prompts({"boxes": [{"min": [-(10**400), 0, 0], "max": [9, 9, 4]}]}),
    "a point far away in mm": _prompts({"points": [[1e6, 0, 0]]}, space="world_mm"), "100,000 points on a slice": _prompts({"points": [[each % 18, 10, 3] for each in range(100_000)]}),
}
SUPPORT: dict[str, Any] = {
    "an unknown case": {"c99": [2]}, "a slice without a label": {"c0": [0]}, "a slice 99": {"c0": [99]}, "a slice of -1": {"c0": [-1]}, "a slice of text": {"c0": ["2"]}, "a slice of true": {"c0": [True]},
    "a slice of 2.0": {"c0": [2.0]}, "a slice twice": {"c0": [2, 2]}, "slices of a number": {"c0": 2}, "no slice": {"c0": []}, "a slice of 30 digits": {"c0": [10**30]},
}


def _people() -> list[Entry]:
    """Files that people write."""
    made = [Entry("splits", name, _write(splits_file, content), ("fit", "plan"), ("splits_final",), _untouched(splits_file))
            for name, content in {**NOT_OBJECTS, **SPLITS}.items() if content != b"[]"]  # what planning writes for one patient
    for name, (content, may) in GROUPS_CSV.items():
        make = _write(lambda place: place.dataset / "groups.csv", content)
        made.append(Entry("groups", name, lambda place, make=make: (make(place), splits_file(place).unlink()), ("plan",), None if may else ("groups.csv",), anything if may else None))
    for name, content in {**NOT_OBJECTS, "patients of objects": {f"c{each}": {} for each in range(6)}, "patients of numbers": {f"c{each}": each for each in range(6)},
                          "a case missing": {"c0": "p0"}}.items():
        make = _write(groups_file, content)
        made.append(Entry("groups", f"kept: {name}", lambda place, make=make: (make(place), splits_file(place).unlink()), ("plan",), ("groups.json",),
                          anything if name in ("an empty object", "a case missing") else None))
    where = ("prompts.json",)
    made += [Entry("prompts", name, _write(lambda place: place.path("prompts.json"), content), ("ask", "validate_asked"), where) for name, content in {**NOT_OBJECTS, **PROMPTS}.items()]
    made += [Entry("support", name, _write(lambda place: place.path("support.json"), content),
                   ("support",), ("support.json",)) for name, content in {**NOT_OBJECTS, **SUPPORT}.items()]
    return made


def _untouched(at: At) -> Check:
    """Planning writes splits where there are none, and need not read those that are there; training must refuse them."""
    return lambda place, base, command: None if command == "plan" else "bad splits were used"


RUN_KEYS = ("settings", "variant", "fold", "encoder", "train_cases", "labelled_slices", "support", "val_cases", "versions", "hardware", "threads", "precision",
            "processes", "seconds", "finished", "trained_by")


def _models() -> list[Entry]:
    """Files of a trained model; where a key does not matter for what a command does, the results are the same."""
    made = []
    for file, at in (("run.json", lambda place: model(place) / "fold_0" / "run.json"), ("plans.json", lambda place: model(place) / "plans.json"),
                     ("dataset.json", lambda place: model(place) / "dataset.json")):
        commands = ("predict", "predict_last", "info", "validate") if file == "run.json" else ("predict", "info")
        for name, content in NOT_OBJECTS.items():
            check = _fine_for("info", "validate") if file != "run.json" else _fine_for("info", "predict_last")
            made.append(Entry("model", f"{file}: {name}", _write(at, content), commands, (file,), check))
    run = lambda place: model(place) / "fold_0" / "run.json"
    for key in RUN_KEYS:
        made.append(Entry("model", f"run.json without {key}", _gone(run, key), ("predict", "validate"), ("run.json",), same_prediction))
        for value in (None, [], {}, "x", -1, True):
            made.append(Entry("model, any value", f"run.json: {key} = {_told(value)}", _value(run, key, value=value), ("predict",), ("run.json|fold_0",), same_prediction))
    for file, at in (("plans.json", lambda place: model(place) / "plans.json"),):
        for name, (keys, value) in PLANS_VALUES.items():
            if keys[0] == "dataset":
                made.append(Entry("model", f"{file}: {name}", _value(at, *keys, value=value), ("predict",), (file,)))
    for name, keys in (("no file_ending", ("file_ending",)), ("no labels", ("labels",))):
        made.append(Entry("model", f"dataset.json: {name}", _gone(lambda place: model(place) / "dataset.json", *keys), ("predict",), ("dataset.json",)))
    choice = lambda place: place.path("results", place.dataset.name, "choice", "x.json")
    for name, content in NOT_OBJECTS.items():
        make = _write(choice, content)
        made.append(Entry("model", f"record of a choice: {name}", lambda place, make=make: (choice(place).parent.mkdir(), make(place)), ("predict_last", "info"), ("x.json",),
                          _fine_for("info")))
    return made


def _fine_for(*commands: str) -> Check:
    """Commands that need not read the file may end well; others must refuse it."""
    return lambda place, base, command: None if command in commands else "it was used"


def _caches() -> list[Entry]:
    made = []
    arrays = lambda place: preprocessed(place, "samunetPlans", "arrays", "c1.json")
    signature = lambda place: next(preprocessed(place, "samunetPlans", "embeddings").glob("*/c1.json"))
    fingerprint = lambda place: preprocessed(place, "dataset_fingerprint.json")
    for name, content in NOT_OBJECTS.items():
        made.append(Entry("cache", f"properties of an array: {name}", _write(arrays, content), ("fit", "preprocess"), ("c1.json",), anything))
        made.append(Entry("cache", f"signature of an embedding: {name}", _write(signature, content), ("cache_list", "train", "embed"), ("c1.json|c1.npy|embeddings",), anything))
        made.append(Entry("cache", f"fingerprint: {name}", _write(fingerprint, content), ("plan", "fit"), ("dataset_fingerprint.json",), anything))
    return made


def entries() -> list[Entry]:
    """All entries of this file."""
    return [*_plans(), *_people(), *_models(), *_caches()]

