"""Bad input: dataset.json, and the files in the folders of a dataset, of images to predict and of segmentations."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.case_files import prediction, test_image, test_label, train_image, train_label
from tests.faults.entry import Entry, all_of, anything, edit_json, same_prediction, same_score
from tests.faults.place import Place

TRAINING = ("plan", "verify", "preprocess")
Make = Callable[[Place], object]


def dataset_json(change: Callable[[dict], object]) -> Make:
    return lambda place: edit_json(place.dataset / "dataset.json", change)


def with_text(text: str | bytes) -> Make:
    content = text if isinstance(text, bytes) else text.encode()
    return lambda place: (place.dataset / "dataset.json").write_bytes(content)


def _setting(**values: Any) -> Make:
    return dataset_json(lambda content: content.update(values))


def _without(key: str) -> Make:
    return dataset_json(lambda content: {name: value for name, value in content.items() if name != key})


def _labels(**names: Any) -> Make:
    return _setting(labels={"background": 0, **names})


V1 = {
    "name": "Tiny", "modality": {"0": "MRI"}, "labels": {"0": "background", "1": "A", "2": "B"}, "numTraining": 6,
    "numTest": 0,
    "training": [{"image": f"./imagesTr/c{case}.nii.gz", "label": f"./labelsTr/c{case}.nii.gz"} for case in range(6)],
    "test": [],
}
JSON: dict[str, tuple[Make, tuple[str, ...]]] = {
    "nothing": (with_text(""), ("dataset.json",)), "no JSON": (with_text("{"), ("dataset.json",)),
    "a list": (with_text("[]"), ("dataset.json",)), "a number": (with_text("7"), ("dataset.json",)),
    "null": (with_text("null"), ("dataset.json",)), "an empty object": (with_text("{}"), ("dataset.json",)),
    "Latin-1": (with_text('{"channel_names": {"0": "Größe"}}'.encode("latin-1")), ("dataset.json",)),
    "UTF-16": (with_text('{"labels": {}}'.encode("utf-16")), ("dataset.json",)),
    "brackets 100,000 deep": (with_text("[" * 100_000), ("dataset.json",)),
    "one key twice":
        (with_text('{"labels": {"background": 0}, "labels": {"background": 0, "A": 1}}'),
         ("dataset.json", "duplicate")),
    "a comment": (with_text('{"numTraining": 6 // cases\n}'), ("dataset.json",)),
    "single quotes": (with_text("{'numTraining': 6}"), ("dataset.json",)),
    "an integer of 10,000 digits": (with_text('{"numTraining": ' + "9" * 10_000 + "}"), ("dataset.json",)),
    "nnU-Net v1": (with_text(json.dumps(V1)), ("dataset.json",)),
    "no labels": (_without("labels"), ("labels", "dataset.json")),
    "no channel_names": (_without("channel_names"), ("channel_names", "dataset.json")),
    "no file_ending": (_without("file_ending"), ("file_ending", "dataset.json")),
    "no numTraining": (_without("numTraining"), ("numTraining",)),
    "labels of a list": (_setting(labels=["background", "A"]), ("labels",)),
    "labels of numbers to names": (_setting(labels=V1["labels"]), ("labels",)),
    "labels without background": (_setting(labels={"A": 1, "B": 2}), ("background",)),
    "a gap in labels": (_labels(A=1, B=3), ("dataset.json",)),
    "two names of one value": (_labels(A=1, B=1), ("dataset.json",)),
    "a label of true": (_labels(A=True, B=2), ("dataset.json",)),
    "a label of 1.0": (_labels(A=1.0, B=2), ("dataset.json",)),
    "a label of text": (_labels(A="1", B=2), ("dataset.json",)),
    "a label of null": (_labels(A=None, B=2), ("dataset.json",)),
    "a label of an object": (_labels(A={}, B=2), ("dataset.json",)),
    "a negative label": (_labels(A=-1, B=2), ("dataset.json",)),
    "a label of 10**30": (_labels(A=1, B=10**30), ("dataset.json",)),
    "a region of nothing": (_labels(A=[], B=2), ("dataset.json",)),
    "regions without order": (_labels(both=[1, 2], B=2), ("regions_class_order",)),
    "a region of text":
        (_setting(labels={"background": 0, "both": ["1", "2"], "B": 2}, regions_class_order=[1, 2]), ("dataset.json",)),
    "a region in a region":
        (_setting(labels={"background": 0, "both": [[1], 2], "B": 2}, regions_class_order=[1, 2]), ("dataset.json",)),
    "an order of text": (
        _setting(labels={"background": 0, "both": [1, 2], "B": 2}, regions_class_order="12"), ("regions_class_order",),
    ),
    "an order that is too long": (
        _setting(labels={"background": 0, "both": [1, 2], "B": 2}, regions_class_order=[1, 2, 1]),
        ("regions_class_order",),
    ),
    "an order of unknown values": (
        _setting(labels={"background": 0, "both": [1, 2], "B": 2}, regions_class_order=[1, 9]),
        ("regions_class_order",),
    ),
    "ignore that is not the highest": (_labels(ignore=1, B=2), ("ignore",)),
    "ignore of a list": (_labels(A=1, B=2, ignore=[3]), ("ignore",)),
    "channel names of a list": (_setting(channel_names=["MRI"]), ("channel_names",)),
    "no channel": (_setting(channel_names={}), ("channel_names",)),
    "channels from 1": (_setting(channel_names={"1": "MRI"}), ("channel_names",)),
    "a channel named 00": (_setting(channel_names={"00": "MRI"}), ("channel_names",)),
    "a channel of null": (_setting(channel_names={"0": None}), ("channel",)),
    "a channel of a list": (_setting(channel_names={"0": ["MRI"]}), ("channel",)),
    "an unknown channel": (_setting(channel_names={"0": "sonar"}), ("sonar",)),
    "a channel more": (_setting(channel_names={"0": "MRI", "1": "MRI"}), ("c0|c1|imagesTr|channel_names",)),
    "numTraining of text": (_setting(numTraining="6"), ("numTraining",)),
    "numTraining of 6.5": (_setting(numTraining=6.5), ("numTraining",)),
    "numTraining of true": (_setting(numTraining=True), ("numTraining",)),
    "numTraining of -6": (_setting(numTraining=-6), ("numTraining",)),
    "numTraining of 7": (_setting(numTraining=7), ("numTraining",)),
    "an ending without its dot": (_setting(file_ending="nii.gz"), ("file_ending|ending",)),
    "an ending of nothing": (_setting(file_ending=""), ("file_ending|ending",)),
    "an ending of a number": (_setting(file_ending=7), ("file_ending",)),
    "an unknown ending": (_setting(file_ending=".dcm"), (".dcm",)),
    "an ending in upper case": (_setting(file_ending=".NII.GZ"), ("ending|image",)),
    "an ending of dots": (_setting(file_ending="../../.nii.gz"), ("ending",)),
    "another ending": (_setting(file_ending=".nrrd"), (".nrrd",)),
    "an unknown reader": (_setting(overwrite_image_reader_writer="DicomIO"), ("DicomIO",)),
    "a reader of other files":
        (_setting(overwrite_image_reader_writer="NaturalImage2DIO"), ("c0|c1|NaturalImage2DIO",)),
    "a reader of a list": (_setting(overwrite_image_reader_writer=[]), ("overwrite_image_reader_writer",)),
    "unlabelled of text": (_setting(unlabelled="c1"), ("unlabelled",)),
    "unlabelled of a stranger": (_setting(unlabelled=["c99"]), ("c99",)),
    "unlabelled of numbers": (_setting(unlabelled=[1]), ("unlabelled",)),
    "a listing of nothing": (_setting(dataset={}), ("dataset.json",)),
    "a listing of a list": (_setting(dataset=[]), ("dataset",)),
    "a listing of text": (_setting(dataset={"c1": "c1.nii.gz"}), ("c1",)),
    "a listing of missing files": (
        _setting(dataset={"c1": {"images": ["no.nii.gz"], "label": "labelsTr/c1.nii.gz"}}, numTraining=1),
        ("no.nii.gz",),
    ),
    "a listing that leaves the folder": (
        _setting(dataset={"../c1": {"images": ["imagesTr/c1_0000.nii.gz"], "label": "labelsTr/c1.nii.gz"}},
                 numTraining=1),
        ("../c1",),
    ),
    "a listing with a NUL": (
        _setting(dataset={"c1": {"images": ["imagesTr/c1\0.nii.gz"], "label": "labelsTr/c1.nii.gz"}}, numTraining=1),
        ("c1",),
    ),
    "a listing whose label is an image": (
        _setting(dataset={"c1": {"images": ["imagesTr/c1_0000.nii.gz"], "label": "imagesTr/c1_0000.nii.gz"}},
                 numTraining=1),
        ("c1|splits_final",),
    ),
    "a listing of one file for two cases": (
        _setting(dataset={name: {"images": ["imagesTr/c1_0000.nii.gz"], "label": f"labelsTr/{name}.nii.gz"}
                          for name in ("c1", "c2")}, numTraining=2),
        ("c1|c2",),
    ),
}
SCORED_JSON = ("nothing", "no JSON", "a list", "null", "an empty object", "Latin-1", "brackets 100,000 deep",
               "no labels", "no file_ending", "labels of a list",
               "a gap in labels", "two names of one value", "a label of true", "a label of text", "a label of null",
               "a region of nothing",
               "regions without order", "an ending without its dot", "an unknown reader", "a reader of a list",
               "nnU-Net v1")


def _replaced(path: Callable[[Place], Path], make: Callable[[Path], object]) -> Make:
    """Put something else in the place of a file."""

    def spoil(place: Place) -> None:
        target = path(place)
        target.unlink()
        make(target)

    return spoil


def _renamed(path: Callable[[Place], Path], name: str) -> Make:
    return lambda place: path(place).rename(path(place).with_name(name))


def _copied(path: Callable[[Place], Path], name: str) -> Make:
    return lambda place: shutil.copy(path(place), path(place).with_name(name))


def _dangling(path: Path) -> None:
    path.symlink_to("../.git/annex/objects/aa/bb/file")


def _circular(path: Path) -> None:
    path.symlink_to(path.name)


def _fifo(path: Path) -> None:
    os.mkfifo(path)


FILES: dict[str, tuple[Make, tuple[str, ...], tuple[str, ...], Any]] = {  # how, commands, words, check
    "an image that is a dangling link": (_replaced(train_image, _dangling), TRAINING, ("c1_0000",), None),
    "a label that is a dangling link": (_replaced(train_label, _dangling), TRAINING, ("c1",), None),
    "an image to predict that is a dangling link": (_replaced(test_image, _dangling), ("predict",), ("c6_0000",), None),
    "a reference that is a dangling link": (_replaced(test_label, _dangling), ("evaluate",), ("c6",), None),
    "a prediction that is a dangling link": (_replaced(prediction, _dangling), ("evaluate",), ("c6",), None),
    "a link to itself": (_replaced(train_image, _circular), TRAINING, ("c1_0000",), None),
    "a folder in place of an image": (_replaced(train_image, Path.mkdir), TRAINING, ("c1_0000",), None),
    "a folder in place of a label": (_replaced(train_label, Path.mkdir), TRAINING, ("c1",), None),
    "a folder in place of an image to predict": (_replaced(test_image, Path.mkdir), ("predict",), ("c6_0000",), None),
    "a folder in place of a reference": (_replaced(test_label, Path.mkdir), ("evaluate",), ("c6",), None),
    "a pipe in place of an image": (_replaced(train_image, _fifo), ("plan", "verify"), ("c1_0000",), None),
    "a missing label": (lambda place: train_label(place).unlink(), TRAINING, ("c1",), None),
    "a missing image": (lambda place: train_image(place).unlink(), TRAINING, ("numTraining|c1",), None),
    "a missing prediction": (lambda place: prediction(place).unlink(), ("evaluate",), ("c6",), None),
    "an ending in upper case": (_renamed(train_image, "c1_0000.NII.GZ"), TRAINING, ("c1_0000.NII.GZ",), None),
    "an image to predict in upper case":
        (_renamed(test_image, "c6_0000.NII.GZ"), ("predict",), ("c6_0000.NII.GZ",), all_of(same_prediction)),
    "an image without channel number": (_renamed(train_image, "c1.nii.gz"), TRAINING, ("c1.nii.gz",), None),
    "an image to predict without channel number":
        (_renamed(test_image, "c6.nii.gz"), ("predict",), ("c6.nii.gz",), None),
    "a channel of three digits": (_renamed(train_image, "c1_000.nii.gz"), TRAINING, ("c1_000.nii.gz",), None),
    "a channel 5": (_copied(train_image, "c1_0005.nii.gz"), TRAINING, ("c1_0005",), None),
    "a name of the channel alone": (_renamed(train_image, "_0000.nii.gz"), TRAINING, ("_0000",), None),
    "a case named like a segmentation": (
        lambda place: (_renamed(train_image, "c0_seg_0000.nii.gz")(place),
                       _renamed(train_label, "c0_seg.nii.gz")(place)),
        ("plan", "preprocess"), ("c0_seg|c1",), None,
    ),
    "a case named like a view": (
        lambda place: (_renamed(train_image, "c0__view1_0000.nii.gz")(place),
                       _renamed(train_label, "c0__view1.nii.gz")(place)),
        ("plan", "preprocess"), ("c0__view1|c1",), None,
    ),
    "a case with a blank and quotes": (
        lambda place: (_renamed(train_image, "c 1'\"_0000.nii.gz")(place),
                       _renamed(train_label, "c 1'\".nii.gz")(place)),
        TRAINING, ("c 1|c1",), anything,
    ),
    "a case with a line break": (
        lambda place: (_renamed(train_image, "c\n1_0000.nii.gz")(place), _renamed(train_label, "c\n1.nii.gz")(place)),
        TRAINING, ("c",), anything,
    ),
    "a case of other letters": (
        lambda place: (_renamed(train_image, "é北_0000.nii.gz")(place), _renamed(train_label, "é北.nii.gz")(place)),
        TRAINING, (), anything,
    ),
    "a case that is not UTF-8": (
        lambda place: (_renamed(train_image, "c\udcff_0000.nii.gz")(place),
                       _renamed(train_label, "c\udcff.nii.gz")(place)),
        TRAINING, ("imagesTr|\\udcff|\\xff|c",), anything,
    ),
    "an image to predict that is not UTF-8": (_renamed(test_image, "c\udcff_0000.nii.gz"), ("predict",), (), anything),
    "a hidden image": (_copied(train_image, "._c1_0000.nii.gz"), TRAINING, (), anything),
    "a hidden image to predict": (_copied(test_image, "._c6_0000.nii.gz"), ("predict",), (), same_prediction),
    "a text file beside images to predict":
        (lambda place: test_image(place).with_name("notes.txt").write_text("x"), ("predict",), None, same_prediction),
    "images of another ending beside":
        (_copied(test_image, "c9_0000.mha"), ("predict",), ("c9_0000.mha",), same_prediction),
    "an empty folder of images": (
        lambda place: [path.unlink() for path in (place.dataset / "imagesTr").iterdir()], TRAINING, ("imagesTr",), None,
    ),
    "an empty folder of images to predict": (
        lambda place: [path.unlink() for path in (place.dataset / "imagesTs").iterdir()], ("predict",), ("imagesTs",),
        None,
    ),
    "no folder of images": (lambda place: shutil.rmtree(place.dataset / "imagesTr"), TRAINING, ("imagesTr",), None),
    "no folder of images to predict":
        (lambda place: shutil.rmtree(place.dataset / "imagesTs"), ("predict", "overlay"), ("imagesTs",), None),
    "no folder of labels": (lambda place: shutil.rmtree(place.dataset / "labelsTr"), TRAINING, ("labelsTr",), None),
    "an empty folder of references": (
        lambda place: [path.unlink() for path in (place.dataset / "labelsTs").iterdir()], ("evaluate",), ("labelsTs",),
        None,
    ),
    "no folder of predictions": (lambda place: shutil.rmtree(place.path("out")), ("evaluate",), ("out",), None),
    "no dataset.json":
        (lambda place: (place.dataset / "dataset.json").unlink(), (*TRAINING, "evaluate"), ("dataset.json",), None),
    "dataset.json is a folder": (
        lambda place: ((place.dataset / "dataset.json").unlink(), (place.dataset / "dataset.json").mkdir()),
        (*TRAINING, "evaluate"), ("dataset.json",), None,
    ),
    "two datasets of one number": (
        lambda place: shutil.copytree(place.dataset, place.dataset.with_name("Dataset005_Twin")), TRAINING,
        ("Dataset005_Twin",), None,
    ),
    "no dataset": (lambda place: shutil.rmtree(place.dataset), TRAINING, ("5",), None),
    "a second prediction of a case": (_copied(prediction, "c6.nii"), ("evaluate",), None, same_score),
}


def entries() -> list[Entry]:
    """All entries of this file."""
    made = [Entry("dataset.json", name, make, TRAINING + (("evaluate",) if name in SCORED_JSON else ()), words)
            for name, (make, words) in JSON.items()]
    return made + [Entry("folder", name, make, commands, words, check, warns=True)
                   for name, (make, commands, words, check) in FILES.items()]
