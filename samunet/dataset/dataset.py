"""A raw dataset in nnU-Net v2's format: dataset.json, and which files belong to which case."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samunet.dataset.case_paths import FRAME_FOLDER, is_there, label_ending
from samunet.dataset.frame_names import frame_names, name_problems
from samunet.dataset.image_folder import images_of
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError, joined
from samunet.files import read_json

# Endings of labels that can be read under the dataset's: ITK looks whether a .nii.gz is compressed, and the two of TIFFs say the same.
ALSO_READ = {".nii.gz": (".nii.gz", ".nii"), ".tif": (".tif", ".tiff"), ".tiff": (".tif", ".tiff")}
# key: its type, and what it is
_REQUIRED = {
    "channel_names": (Mapping, 'a mapping of channel number to name, such as {"0": "CT"}'),
    "labels": (Mapping, 'a mapping of name to value, such as {"background": 0, "liver": 1}'),
    "numTraining": (int, "the number of training cases"),
    "file_ending": (str, 'the ending of every image and label file, such as ".nii.gz", or "/" for folders of frames'),
}


@dataclass(frozen=True)
class RawCase:
    """One case's files. `images` are in channel order: one file a channel, or one file that holds them all.

    Where `file_ending` is "/" they are folders of frames, as are the labels of videos.
    """

    name: str
    images: tuple[Path, ...]
    label: Path | None


@dataclass(frozen=True)
class RawDataset:
    """What dataset.json says, and the training cases, sorted by name.

    `reader` is `overwrite_image_reader_writer` (None where it is unset or "None"). Cases in `unlabelled` have no label,
    also where a label file lies there. `content` is dataset.json as it was read.
    """

    folder: Path
    name: str
    labels: LabelSpace
    channel_names: tuple[str, ...]
    file_ending: str
    reader: str | None
    cases: tuple[RawCase, ...]
    unlabelled: frozenset[str]
    content: dict[str, Any]

    @property
    def label_ending(self) -> str:
        """The ending of labels and predictions."""
        return label_ending(self.file_ending)


def load_dataset(folder: Path) -> RawDataset:
    """Read dataset.json of `folder` and list its training cases; no image is opened.

    Raises:
        UserError: every broken rule at once: missing or wrong keys, no images, missing channels, labels or label frames, a
            listed label with another ending, a number of cases that is not numTraining.
    """
    dataset, problems = scan_dataset(folder)
    if problems:
        raise joined(problems)
    return dataset


def scan_dataset(folder: Path) -> tuple[RawDataset, list[UserError]]:
    """As `load_dataset`, but what is wrong with the cases' files is returned, not raised.

    Raises:
        UserError: a dataset.json by which no case can be found.
    """
    folder = Path(folder)
    where = folder / "dataset.json"
    content = read_json(where)
    channel_names, labels = _check_content(content, where)
    unlabelled = frozenset(map(str, content.get("unlabelled", ())))
    reader = content.get("overwrite_image_reader_writer")
    problems: list[UserError] = []
    ending, ending_of_labels = content["file_ending"], label_ending(content["file_ending"])
    if "dataset" in content:
        cases = _listed_cases(content, folder, len(channel_names), unlabelled, problems)
    else:
        images = images_of(folder / "imagesTr", ending, len(channel_names), problems)
        labels_folder = folder / "labelsTr"
        cases = [
            RawCase(name, paths, None if name in unlabelled else labels_folder / f"{name}{ending_of_labels}")
            for name, paths in images.items()
        ]
    problems += _label_problems(cases, ending_of_labels)
    if ending == FRAME_FOLDER:
        problems += _frame_problems(cases)
    if strangers := sorted(unlabelled - {case.name for case in cases}):
        problems.append(UserError("`unlabelled` in dataset.json must list cases of the dataset.", where=where,
                                  found=", ".join(strangers), mend="Remove these names, or add their images."))
    if cases and len(cases) != content["numTraining"]:
        problems.append(UserError(
            "`numTraining` in dataset.json must be the number of training cases, unlabelled ones included.", where=where,
            found=f"numTraining is {content['numTraining']}; there are {len(cases)} cases",
            mend=f"Set it to {len(cases)}, or restore the missing cases.",
        ))
    dataset = RawDataset(
        folder=folder,
        name=folder.name,
        labels=labels,
        channel_names=channel_names,
        file_ending=ending,
        reader=None if reader in (None, "None") else str(reader),
        cases=tuple(sorted(cases, key=lambda case: case.name)),
        unlabelled=unlabelled,
        content=content,
    )
    return dataset, problems


def read_dataset_json(path: Path) -> tuple[dict[str, Any], LabelSpace]:
    """Content and labels of a dataset.json that need not lie in a raw dataset: checked is what segmentations need.

    Raises:
        UserError: missing file, no object, no `file_ending`, broken labels.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("file_ending"), str):
        raise UserError("dataset.json must have `file_ending`.", where=path, mend='Write it, such as ".nii.gz".')
    return content, LabelSpace.from_dataset_json(content, str(path))


def channel_count(content: Mapping[str, Any], where: Path) -> int:
    """How many channels the content of a dataset.json names; 0 where it says nothing of them, as a copy beside segmentations may.

    Raises:
        UserError: they are no mapping.
    """
    names = content.get("channel_names", content.get("modality", {}))
    if not isinstance(names, Mapping):
        raise UserError("`channel_names` in dataset.json must map numbers to names.", where=where, found=repr(names),
                        mend=f"Write {_REQUIRED['channel_names'][1]}.")
    return len(names)


def collect_cases(folder: Path, file_ending: str, channels: int) -> tuple[RawCase, ...]:
    """The cases of a folder of images to predict (CASE_0000.ending, ...), sorted by name, without labels.

    Raises:
        UserError: no such folder, no image in it, a missing channel, a file without channel number; all together.
    """
    problems: list[UserError] = []
    images = images_of(Path(folder), file_ending, channels, problems)
    if problems:
        raise joined(problems)
    return tuple(RawCase(name, paths, None) for name, paths in sorted(images.items()))


def _check_content(content: Any, where: Path) -> tuple[tuple[str, ...], LabelSpace]:
    """Channel names and labels of dataset.json's content; every broken rule is raised at once."""
    if not isinstance(content, dict):
        raise UserError("dataset.json must hold an object.", where=where, found=type(content).__name__)
    if "channel_names" not in content and "modality" in content:
        content = {**content, "channel_names": content["modality"]}
    problems = []
    for key, (kind, shape) in _REQUIRED.items():
        if not isinstance(content.get(key), kind) or isinstance(content.get(key), bool):
            problems.append(UserError(
                f"dataset.json must have `{key}`.", where=where,
                found=repr(content[key]) if key in content else f"only {', '.join(content)}",
                mend=f"Write {shape}.",
            ))
    labels = None
    if isinstance(content.get("labels"), Mapping):
        try:
            labels = LabelSpace.from_dataset_json(content, str(where))
        except UserError as fault:
            problems.append(fault)
    names = content.get("channel_names")
    if isinstance(names, Mapping) and sorted(names) != sorted(map(str, range(len(names) or 1))):
        problems.append(UserError(
            "`channel_names` in dataset.json must number the channels from 0.", where=where, found=", ".join(names),
            mend='Write them as {"0": "CT", "1": ...}.',
        ))
    if not isinstance(content.get("unlabelled", []), list):
        problems.append(UserError("`unlabelled` in dataset.json must be a list of case names.", where=where,
                                  found=repr(content["unlabelled"])))
    if not isinstance(content.get("dataset", {}), dict):
        problems.append(UserError("`dataset` in dataset.json must map case names to images and label.", where=where,
                                  found=type(content["dataset"]).__name__))
    if problems:
        raise joined(problems)
    assert labels is not None
    return tuple(str(names[str(channel)]) for channel in range(len(names))), labels


def _listed_cases(
    content: dict[str, Any], folder: Path, channels: int, unlabelled: frozenset[str], problems: list[UserError]
) -> list[RawCase]:
    """The cases of dataset.json's `dataset` listing; paths may hold environment variables or be relative to `folder`."""
    where, listing = folder / "dataset.json", content["dataset"]
    if not listing:
        problems.append(UserError("`dataset` in dataset.json must list at least one case.", where=where, found="none"))
    cases = []
    for name, files in listing.items():
        entry = files if isinstance(files, dict) else {}
        images, label = entry.get("images"), entry.get("label")
        images = images if isinstance(images, list) and all(isinstance(path, str) for path in images) else []
        labelled = name not in unlabelled
        if Path(name).name != name or name.startswith("."):
            problems.append(UserError("A case's name must be usable as a file name.", where=where, found=repr(name),
                                      mend="Name it without slashes and without a leading dot."))
        elif not images or (labelled and not isinstance(label, str)):
            problems.append(UserError(
                "A case of the `dataset` listing needs `images` (a list of files) and `label` (a file).", where=where,
                found=f"case {name}: {files!r}", mend="Add them, or list the case under `unlabelled`.",
            ))
        else:
            paths = tuple(_expanded(path, folder) for path in images)
            problems += _listed_channel_problems(name, paths, channels, content["file_ending"])
            cases.append(RawCase(name, paths, _expanded(str(label), folder) if labelled else None))
    return cases


def _listed_channel_problems(name: str, paths: tuple[Path, ...], channels: int, ending: str) -> list[UserError]:
    problems = [
        UserError("Every image that dataset.json lists must exist.", where=path, found=f"no such file (case {name})",
                  mend="Correct the path (are its environment variables set?), or restore the file.")
        for path in paths if not is_there(path, ending)
    ]
    if len(paths) not in (1, channels):
        problems.append(UserError(
            "Every case must have a file for each channel.", where=f"case {name}",
            found=f"{len(paths)} files for {channels} channels", mend="List one file a channel, in channel order.",
        ))
    return problems


def _label_problems(cases: list[RawCase], ending: str) -> list[UserError]:
    """Labels that are missing; and listed ones with another ending, since copies are named, and read, by the dataset's."""
    problems = []
    for case in cases:
        if case.label is None:
            continue
        if not is_there(case.label, ending):
            problems.append(UserError(
                "Every training case must have a label file.", where=case.label, found=f"no such file (case {case.name})",
                mend="Add it, or list the case under `unlabelled` in dataset.json.",
            ))
        elif ending != FRAME_FOLDER and not case.label.name.endswith(ALSO_READ.get(ending, ending)):
            problems.append(UserError(
                "Every label must have the dataset's ending.", where=case.label, found=f"no {ending} file (case {case.name})",
                mend=f"Convert it to {ending}; to rename it is not enough.",
            ))
    return problems


def _frame_problems(cases: list[RawCase]) -> list[UserError]:
    """Label frames that lack or have no image frame; folders that are missing or empty are told by others."""
    problems = []
    for case in cases:
        folders = [path for path in (case.images[0], case.label) if path is not None and path.is_dir()]
        names = [frame_names(folder) for folder in folders]
        if len(names) == 2 and all(names):
            problems += name_problems(names[1], names[0], folders[1])
    return problems


def _expanded(path: str, folder: Path) -> Path:
    return Path(os.path.abspath(folder / os.path.expandvars(path)))
