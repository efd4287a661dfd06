"""Bad input: what voxels hold, labels that do not fit, and images and labels that do not lie on one grid."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np

from tests.faults.case_files import prediction, test_image, test_label, train_image, train_label
from tests.faults.entry import Entry, all_of, anything, edit_json, same_prediction, same_score
from tests.faults.place import Place

TRAINING, PREDICTING, SCORING = ("plan", "verify", "preprocess"), ("predict",), ("evaluate",)
Change = Callable[[np.ndarray], np.ndarray]


def rewrite(path: Path, change: Change, affine: Callable[[np.ndarray], np.ndarray] = lambda affine: affine) -> None:
    """Replace a NIfTI file's array (x, y, z) and its affine."""
    image = nibabel.load(path)
    array = change(np.asarray(image.dataobj).copy())
    path.unlink()
    nibabel.save(nibabel.Nifti1Image(array, affine(image.affine), dtype=array.dtype), path)


def _set(value: float) -> Change:
    def change(array: np.ndarray) -> np.ndarray:
        array[8, 8, 3] = value
        return array

    return change


def _images(change: Change) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        rewrite(train_image(place), change)
        rewrite(test_image(place), change)

    return make


def _labels(change: Change) -> Callable[[Place], None]:
    def make(place: Place) -> None:
        rewrite(train_label(place), change)
        rewrite(test_label(place), change)

    return make


def _predictions(change: Change) -> Callable[[Place], None]:
    return lambda place: rewrite(prediction(place), change)


def _flipped(axis: int) -> tuple[Change, Callable[[np.ndarray], np.ndarray]]:
    """Array and affine of the same image in space, stored with one axis the other way round."""
    shape = (18, 20, 6)

    def affine(given: np.ndarray) -> np.ndarray:
        turn = np.eye(4)
        turn[axis, axis], turn[axis, 3] = -1, shape[axis] - 1
        return given @ turn

    return lambda array: np.flip(array, axis), affine


def _swapped(given: np.ndarray) -> np.ndarray:
    """The affine of an array whose first two axes were exchanged."""
    return given @ np.eye(4)[:, [1, 0, 2, 3]]


def _moved(by: float) -> Callable[[np.ndarray], np.ndarray]:
    def affine(given: np.ndarray) -> np.ndarray:
        given = given.copy()
        given[0, 3] += by
        return given

    return affine


def _on_grid(which: str, change: Change, affine: Callable[[np.ndarray], np.ndarray]) -> Callable[[Place], None]:
    """Give labels (to train and to score), predictions or images another grid."""
    paths = {
        "labels": lambda place: (train_label(place), test_label(place)),
        "prediction": lambda place: (prediction(place),), "channel": lambda place: (_second_channel(place),),
    }[which]
    return lambda place: [rewrite(path, change, affine) for path in paths(place)]


def _second_channel(place: Place) -> Path:
    """Make a dataset of two channels, and return the second of a training case."""
    edit_json(place.dataset / "dataset.json", lambda content: content.update(channel_names={"0": "MRI", "1": "MRI"}))
    for path in place.dataset.glob("images*/*_0000.nii.gz"):
        shutil.copy(path, path.with_name(path.name.replace("_0000", "_0001")))
    return train_image(place).with_name("c1_0001.nii.gz")


def _keep(array: np.ndarray) -> np.ndarray:
    return array


IMAGES: dict[str, tuple[Change, bool]] = {  # what is done, and whether it may be used
    "one NaN": (_set(np.nan), False), "one infinite": (_set(np.inf), False), "all NaN": (lambda a: a * np.nan, False),
    "up to float32's end": (lambda a: (a / a.max() * 3e38).astype(np.float32), True),
    "all zero": (lambda a: a * 0, True), "all the same": (lambda a: a * 0 + 7, True),
    "tiny values": (lambda a: (a * 1e-40).astype(np.float32), True),
    "float64 beyond float32": (lambda a: a.astype(np.float64) * 1e300, False),
    "float64": (lambda a: a.astype(np.float64), True), "int8": (lambda a: (a / 4).astype(np.int8), True),
    "uint16": (lambda a: a.clip(0).astype(np.uint16), True), "int32": (lambda a: a.astype(np.int32) * 1000, True),
    "uint32": (lambda a: a.clip(0).astype(np.uint32), True), "int64": (lambda a: a.astype(np.int64), True),
    "big-endian": (lambda a: a.astype(">f4"), True),
    "two channels in one file": (lambda a: np.stack([a, a], -1), False),
    "four volumes in time": (lambda a: np.stack([a] * 4, -1), False), "a single voxel": (lambda a: a[:1, :1, :1], True),
    "a single slice": (lambda a: a[:, :, 3:4], True), "a line": (lambda a: a[:, 3:4, 3:4], True),
    "no voxel": (lambda a: a[:0], False),
}
SEVERAL = ("two channels in one file", "four volumes in time")
LABELS: dict[str, tuple[Change, bool]] = {
    "a value that dataset.json lacks": (_set(7), False),
    "a negative value": (lambda a: _set(-1)(a.astype(np.int16)), False),
    "a value beyond int16": (lambda a: _set(70000)(a.astype(np.int32)), False),
    "fractions": (lambda a: a.astype(np.float32) * 0.5, False),
    "NaN": (lambda a: _set(np.nan)(a.astype(np.float32)), False),
    "255 in place of 1": (lambda a: np.where(a == 1, 255, a).astype(np.uint8), False),
    "whole numbers as float64": (lambda a: a.astype(np.float64), True), "uint64": (lambda a: a.astype(np.uint64), True),
    "nearly whole numbers": (lambda a: a.astype(np.float32) * 1.01, False),
    "one slice less": (lambda a: a[..., :-1], False),
    "axes exchanged, header not": (lambda a: a.transpose(1, 0, 2), False),
    "two values a voxel": (lambda a: np.stack([a, a], -1), False),
    "twice the extent": (lambda a: a.repeat(2, 0), False),
}


def _grids() -> list[Entry]:
    mirrored, swapped = _flipped(1), (lambda a: a.transpose(1, 0, 2), _swapped)
    made = []
    for which, commands in (("labels", (*TRAINING, *SCORING)), ("prediction", SCORING),
                            ("channel", ("plan", "verify"))):
        named = ("c1|c6",)
        for name, (change, affine) in (("one axis mirrored in array and header", mirrored),
                                       ("two axes exchanged in array and header", swapped)):
            made.append(Entry("grid", f"{which}: {name}", _on_grid(which, change, affine), commands, named,
                              all_of(same_score, _same_labels) if which != "channel" else anything, warns=True))
        for name, affine, may in (("3 mm off", _moved(3), False), ("half a voxel off", _moved(0.5), False),
                                  ("2e-8 mm off", _moved(2e-8), True),
                                  ("twice the spacing", lambda affine: affine @ np.diag([2, 2, 2, 1]), False),
                                  ("mirrored in the header alone", lambda affine: affine @ np.diag([1, -1, 1, 1]),
                                   False)):
            made.append(Entry("grid", f"{which}: {name}", _on_grid(which, _keep, affine), commands,
                              None if may else named,
                              all_of(same_score, _same_labels) if may else None, warns=True))
    return made


def _same_labels(place: Place, base: Place, command: str) -> str | None:
    """The stored segmentation of the case is the one without bad input."""
    if command not in ("plan", "preprocess"):
        return None
    from samunet.preprocessing.store import ArrayStore

    folder = ("preprocessed", place.dataset.name, "samunetPlans", "arrays")
    ours, theirs = (ArrayStore(each.path(*folder)).segmentation("c1") for each in (place, base))
    equal = ours is not None and theirs is not None and np.array_equal(ours, theirs)
    return None if equal else "other labels were stored"


def entries() -> list[Entry]:
    """All entries of this file."""
    named = ("c1|c6",)
    # An overlay shows one channel of as many as there are.
    made = [Entry("image", name, _images(change), (*TRAINING, *PREDICTING, *(() if name in SEVERAL else ("overlay",))),
                  named, anything if may else None)
            for name, (change, may) in IMAGES.items()]
    made += [Entry("label", name, _labels(change), (*TRAINING, *SCORING), named,
                   all_of(same_score, _same_labels) if may else None)
             for name, (change, may) in LABELS.items()]
    made += [Entry("prediction", name, _predictions(change), SCORING, named, same_score if may else None)
             for name, (change, may) in LABELS.items()]
    made += _grids()
    made.append(Entry("image", "other values, same labels", _images(lambda a: a + 1), PREDICTING, None,
                      same_prediction))
    return made
