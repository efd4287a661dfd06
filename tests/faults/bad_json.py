"""Bad input: the JSON files that commands write and read back: plans, records of runs, models and caches."""

from __future__ import annotations

from typing import Any

from tests.faults.entry import Check, Entry, anything, preprocessed, same_prediction
from tests.faults.json_edits import NOT_OBJECTS, WRONG, model, plans_file, shortened, with_value, without, written

# What each key of a plans file may hold beside what the planner writes; a value that is listed is sound.
DATASET_KEYS: dict[str, tuple[Any, ...]] = {
    "reader": (), "transpose_forward": (), "transpose_backward": (), "spacing_mm": (), "median_shape": (),
    "anisotropic": (True,), "channel_names": (), "normalization": (), "use_mask_for_norm": (),
    "foreground_intensity": ([],), "reasons": ({}, {"a": 1}),
}
EMBEDDINGS_KEYS: dict[str, tuple[Any, ...]] = {
    "encoder": ("x",), "input_size": (), "tile_shape": (), "tile_step": (), "composition": (), "batch_size": (),
    "cache_dtype": (), "cache_bytes": (0, 10**30), "head_iterations": (10**30,), "view_pictures": (0, 10**30),
    "reasons": ({}, {"a": 1}),
}
HYBRID_KEYS: dict[str, tuple[Any, ...]] = {
    "depth": (10**30,), "strides": (), "kernels": (), "reasons": ({}, {"a": 1}),
}
ADAPTERS_KEYS: dict[str, tuple[Any, ...]] = {
    "slices": (), "input_size": (), "batch_size": (10**30,), "micro_batch": (10**30,), "checkpointed": (True,),
    "training_bytes": (0, 10**30), "reasons": ({}, {"a": 1}),
}
UNET_KEYS: dict[str, tuple[Any, ...]] = {
    "patch": (), "strides": (), "kernels": (), "widths": (), "batch_size": (10**30,), "classes": (10**30,),
    "reasons": ({}, {"a": 1}),
}
PLANS_KEYS = (
    (("dataset",), DATASET_KEYS), (("encoders", "*", "embeddings"), EMBEDDINGS_KEYS),
    (("encoders", "*", "hybrid"), HYBRID_KEYS), (("encoders", "*", "adapters"), ADAPTERS_KEYS), (("unet",), UNET_KEYS),
)
PLANS_VALUES: dict[str, tuple[tuple[str, ...], Any]] = {
    "spacing 0": (("dataset", "spacing_mm"), [0, 1, 1]), "spacing of two values": (("dataset", "spacing_mm"), [1, 1]),
    "spacing of text": (("dataset", "spacing_mm"), ["1", "1", "1"]),
    "negative spacing": (("dataset", "spacing_mm"), [-1, 1, 1]),
    "spacing 1e9": (("dataset", "spacing_mm"), [1e9, 1, 1]), "spacing 1e-9": (("dataset", "spacing_mm"), [1e-9, 1, 1]),
    "an axis twice": (("dataset", "transpose_forward"), [0, 0, 1]),
    "an axis 3": (("dataset", "transpose_forward"), [0, 1, 3]),
    "axes that do not go back": (("dataset", "transpose_forward"), [1, 2, 0]),
    "an unknown normalisation": (("dataset", "normalization"), ["evil"]),
    "no normalisation": (("dataset", "normalization"), []),
    "two normalisations": (("dataset", "normalization"), ["zscore", "zscore"]),
    "CT without intensities": (("dataset", "normalization"), ["ct"]), "no channel": (("dataset", "channel_names"), []),
    "masks of text": (("dataset", "use_mask_for_norm"), ["no"]), "another reader": (("dataset", "reader"), "DicomIO"),
    "a size of text": (("encoders", "*", "embeddings", "input_size"), "64"),
    "a size of 65": (("encoders", "*", "embeddings", "input_size"), 65),
    "a size of 10**6": (("encoders", "*", "embeddings", "input_size"), 10**6),
    "a tile of one side": (("encoders", "*", "embeddings", "tile_shape"), [20]),
    "a tile of nothing": (("encoders", "*", "embeddings", "tile_shape"), [0, 20]),
    "a tile of fractions": (("encoders", "*", "embeddings", "tile_shape"), [20.5, 18.5]),
    "a tile step of 0": (("encoders", "*", "embeddings", "tile_step"), 0),
    "a tile step of 2": (("encoders", "*", "embeddings", "tile_step"), 2),
    "a composition of colour": (("encoders", "*", "embeddings", "composition"), "colour"),
    "a batch of 0": (("encoders", "*", "embeddings", "batch_size"), 0),
    "a batch of half": (("encoders", "*", "embeddings", "batch_size"), 0.5),
    "a cache of float64": (("encoders", "*", "embeddings", "cache_dtype"), "float64"),
    "an even depth of -1": (("encoders", "*", "adapters", "slices"), -1), "version 3": (("version",), 3),
    "version of text": (("version",), "1"), "no encoder": (("encoders",), {}),
    "encoders of a list": (("encoders",), []), "an encoder of a list": (("encoders", "x"), []),
    "an unknown key": (("wish",), 1), "an unknown key of the dataset": (("dataset", "wish"), 1),
    "an unknown key of an encoder": (("encoders", "*", "wish"), 1), "a name of a list": (("plans_name",), []),
    "a dataset's name of null": (("dataset_name",), None),
}


def _plans() -> list[Entry]:
    commands, named = ("preprocess", "fit", "train"), ("samunetPlans",)
    made = [Entry("plans", name, written(plans_file, content), commands, named)
            for name, content in NOT_OBJECTS.items()]
    for name, (keys, value) in PLANS_VALUES.items():
        # The dataset's part is read by all; an encoder's by those that need it.
        who = ("train",) if name == "no encoder" or keys[0] == "encoders" and keys[-1] in ("encoders",) else commands
        made.append(Entry("plans", name, with_value(plans_file, *keys, value=value), who, named))
    for part, keys in PLANS_KEYS:
        for key, sound in keys.items():
            made.append(Entry("plans", f"{part[-1]} without {key}", without(plans_file, *part, key),
                              ("preprocess", "train"), named, anything if key == "reasons" else None))
            for value in WRONG:
                if not any(value is each or (value == each and type(value) is type(each)) for each in sound):
                    made.append(Entry("plans, any value", f"{part[-1]}, {key} = {shortened(value)}",
                                      with_value(plans_file, *part, key, value=value), ("train",), named,
                                      _unharmed(key, value)))
    return made


AMOUNTS = ("cache_bytes", "head_iterations", "view_pictures", "micro_batch", "training_bytes", "batch_size", "slices",
           "depth", "classes")


def _unharmed(key: str, value: Any) -> Check | None:
    """An amount of 0 or of 30 digits may be sound."""
    return anything if key in AMOUNTS and value in (0, 10**30, 1e30) and not isinstance(value, bool) else None


RUN_KEYS = ("settings", "variant", "fold", "encoder", "train_cases", "labelled_slices", "support", "val_cases",
            "versions", "hardware", "threads", "precision",
            "processes", "seconds", "finished", "trained_by")


def _models() -> list[Entry]:
    """Files of a trained model; where a key does not matter for what a command does, the results are the same."""
    made = []
    for file, at in (("run.json", lambda place: model(place) / "fold_0" / "run.json"),
                     ("plans.json", lambda place: model(place) / "plans.json"),
                     ("dataset.json", lambda place: model(place) / "dataset.json")):
        commands = ("predict", "predict_last", "info", "validate") if file == "run.json" else ("predict", "info")
        for name, content in NOT_OBJECTS.items():
            check = _fine_for("info", "validate") if file != "run.json" else _fine_for("info", "predict_last")
            made.append(Entry("model", f"{file}: {name}", written(at, content), commands, (file,), check))
    run = lambda place: model(place) / "fold_0" / "run.json"
    for key in RUN_KEYS:
        made.append(Entry("model", f"run.json without {key}", without(run, key), ("predict", "validate"), ("run.json",),
                          same_prediction))
        for value in (None, [], {}, "x", -1, True):
            made.append(Entry("model, any value", f"run.json: {key} = {shortened(value)}",
                              with_value(run, key, value=value),
                              ("predict",), ("run.json|fold_0|trained model",), same_prediction))
    for file, at in (("plans.json", lambda place: model(place) / "plans.json"),):
        for name, (keys, value) in PLANS_VALUES.items():
            if keys[0] == "dataset":
                made.append(Entry("model", f"{file}: {name}", with_value(at, *keys, value=value), ("predict",),
                                  (file,)))
    for name, keys in (("no file_ending", ("file_ending",)), ("no labels", ("labels",))):
        made.append(Entry("model", f"dataset.json: {name}", without(lambda place: model(place) / "dataset.json", *keys),
                          ("predict",), ("dataset.json",)))
    choice = lambda place: place.path("results", place.dataset.name, "choice", "x.json")
    for name, content in NOT_OBJECTS.items():
        make = written(choice, content)
        made.append(Entry("model", f"record of a choice: {name}",
                          lambda place, make=make: (choice(place).parent.mkdir(), make(place)),
                          ("predict_last", "info"), ("x.json",),
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
        made.append(Entry("cache", f"properties of an array: {name}", written(arrays, content), ("fit", "preprocess"),
                          ("c1.json",), anything))
        made.append(Entry("cache", f"signature of an embedding: {name}", written(signature, content),
                          ("cache_list", "train", "embed"), ("c1.json|c1.npy|embeddings",), anything))
        made.append(Entry("cache", f"fingerprint: {name}", written(fingerprint, content), ("plan", "fit"),
                          ("dataset_fingerprint.json",), anything))
    return made


def entries() -> list[Entry]:
    """All entries of this file."""
    return [*_plans(), *_models(), *_caches()]

