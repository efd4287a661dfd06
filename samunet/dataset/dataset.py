"""A raw dataset in nnU-Net v2's format: dataset.json, and which files belong to which case."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samunet.console import say_once
from samunet.dataset import dataset_json
from samunet.dataset.case_names import case_name_problems
from samunet.dataset.case_paths import FRAME_FOLDER, image_is_there, is_there, label_ending
from samunet.dataset.folder_listing import GET_LINKED, list_folder
from samunet.dataset.image_folder import images_of
from samunet.dataset.io.frame_names import frame_names, name_problems, say_passed_over_frames
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError, joined, some
from samunet.files import read_json

# Label endings that can stand for the dataset's: ITK detects whether a .nii.gz is compressed, and .tif is .tiff.
ALSO_READ = {".nii.gz": (".nii.gz", ".nii"), ".tif": (".tif", ".tiff"), ".tiff": (".tif", ".tiff")}


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
    even if a label file exists. `content` is dataset.json as it was read.
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
        UserError: every broken rule at once: missing or wrong keys, no images, missing channels, labels or label
            frames, a listed label with another ending, a number of cases that is not numTraining.
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
    described = dataset_json.parse(content, where)
    ending, channels = described.file_ending, len(described.channel_names)
    problems: list[UserError] = []
    if described.listing is not None:
        cases = _listed_cases(described, folder, problems)
    else:
        images = images_of(folder / "imagesTr", ending, channels)
        problems += images.problems + images.case_problems
        cases = _labelled_cases(images.images, folder / "labelsTr", described, problems)
    if ending == FRAME_FOLDER:
        problems += _frame_problems(cases)
    if strangers := sorted(described.unlabelled - {case.name for case in cases}):
        problems.append(UserError("`unlabelled` in dataset.json must list cases of the dataset.", where=where,
                                  found=some(strangers), mend="Remove these names, or add their images."))
    if cases and len(cases) != described.training_cases:
        problems.append(UserError(
            "`numTraining` in dataset.json must be the number of training cases, unlabelled ones included.",
            where=where,
            found=f"numTraining is {described.training_cases}; there are {len(cases)} cases",
            mend=f"Set it to {len(cases)}, or restore the missing cases.",
        ))
    dataset = RawDataset(
        folder=folder,
        name=folder.name,
        labels=described.labels,
        channel_names=described.channel_names,
        file_ending=ending,
        reader=described.reader,
        cases=tuple(sorted(cases, key=lambda case: case.name)),
        unlabelled=described.unlabelled,
        content=content,
    )
    return dataset, problems


def read_dataset_json(path: Path) -> tuple[dict[str, Any], LabelSpace]:
    """Content and labels of a dataset.json, of a raw dataset or not; only what segmentations need is checked.

    Raises:
        UserError: missing file, no object, no `file_ending` that can be read, broken labels; all together.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError("dataset.json must hold an object with `labels` and `file_ending`.", where=path,
                        found=type(content).__name__)
    problems = dataset_json.file_ending_problems(content, path)
    try:
        labels = LabelSpace.from_dataset_json(content, str(path))
    except UserError as fault:
        raise joined([*problems, fault]) from fault
    if problems:
        raise joined(problems)
    return content, labels


def channel_names_of(content: Mapping[str, Any], where: Path) -> tuple[str, ...]:
    """Names of the channels in the content of a dataset.json; none if it has none, as a copy next to segmentations may.

    Raises:
        UserError: `channel_names` does not map 0, 1, ... to names.
    """
    names = content.get("channel_names", content.get("modality", {}))
    if not isinstance(names, Mapping) or set(names) != set(map(str, range(len(names)))):
        raise UserError("`channel_names` in dataset.json must map numbers to names.", where=where, found=repr(names),
                        mend=dataset_json.CHANNELS_MEND)
    return tuple(str(names[str(channel)]) for channel in range(len(names)))


def scan_images(folder: Path, file_ending: str, channels: int) -> tuple[tuple[RawCase, ...], list[UserError]]:
    """The cases of a folder of images to predict (CASE_0000.ending, ...), sorted by name, without labels.

    Bad cases are left out; the second value says what is wrong with them.

    Raises:
        UserError: the folder is wrong as a whole, see `images_of`.
    """
    found = images_of(Path(folder), file_ending, channels)
    if found.problems:
        raise joined(found.problems + found.case_problems)
    cases = tuple(RawCase(name, paths, None) for name, paths in found.images.items() if name not in found.bad)
    return cases, found.case_problems


def collect_cases(folder: Path, file_ending: str, channels: int) -> tuple[RawCase, ...]:
    """As `scan_images`, where every case is needed.

    Raises:
        UserError: anything that is wrong with the folder or a case; all together.
    """
    cases, problems = scan_images(folder, file_ending, channels)
    if problems:
        raise joined(problems)
    return cases


def _labelled_cases(
    images: Mapping[str, tuple[Path, ...]], folder: Path, described: dataset_json.Description, problems: list[UserError]
) -> list[RawCase]:
    """The cases with their labels in `folder`, which is listed once; other files in it are named in a warning."""
    ending = label_ending(described.file_ending)
    file_names = {name: name + ending.removesuffix(FRAME_FOLDER) for name in images if name not in described.unlabelled}
    cases = [RawCase(name, paths, folder / file_names[name] if name in file_names else None)
             for name, paths in images.items()]
    wanted = [case for case in cases if case.label is not None]
    if not wanted or not folder.is_dir():
        problems += [_missing_label(case) for case in wanted]
        return cases
    listing = list_folder(folder, ending)
    listing.say_passed_over()
    if ending == FRAME_FOLDER:
        say_passed_over_frames(listing.paths)
    there, read = {path.name for path in listing.paths}, set(file_names.values())
    if strangers := sorted(there - read):
        say_once(f"Warning: ignored in {folder}: {some(strangers)} (no labelled case of the dataset)")
    problems += listing.link_problems()
    problems += [_missing_label(case) for case in wanted if file_names[case.name] not in there]
    return cases


def _listed_cases(described: dataset_json.Description, folder: Path, problems: list[UserError]) -> list[RawCase]:
    """Cases of dataset.json's `dataset` listing; paths may contain environment variables or be relative to `folder`."""
    where, listing = folder / "dataset.json", described.listing or {}
    if not listing:
        problems.append(UserError("`dataset` in dataset.json must list at least one case.", where=where, found="none"))
    of_names, unusable = case_name_problems(listing, described.file_ending, where)
    problems += of_names
    cases = []
    for name, files in listing.items():
        entry = files if isinstance(files, dict) else {}
        images, label = entry.get("images"), entry.get("label")
        images = images if isinstance(images, list) and all(isinstance(path, str) for path in images) else []
        labelled = name not in described.unlabelled
        if not images or (labelled and not isinstance(label, str)):
            problems.append(UserError(
                "A case of the `dataset` listing needs `images` (a list of files) and `label` (a file).", where=where,
                found=f"case {name}: {files!r}", mend="Add them, or list the case under `unlabelled`.",
            ))
        elif name not in unusable:
            paths = tuple(_expanded(path, folder) for path in images)
            problems += _listed_channel_problems(name, paths, len(described.channel_names), described.file_ending)
            cases.append(RawCase(name, paths, _expanded(str(label), folder) if labelled else None))
    problems += _listed_label_problems(cases, label_ending(described.file_ending))
    problems += _shared_image_problems(cases, where)
    return cases


def _shared_image_problems(cases: list[RawCase], where: Path) -> list[UserError]:
    """Images of several cases, which would train and validate in one fold."""
    owners: dict[Path, list[str]] = {}
    for case in cases:
        for path in dict.fromkeys(path for path in case.images if path.exists()):
            owners.setdefault(path.resolve(), []).append(case.name)
    return [UserError("Every image must belong to one case of the `dataset` listing.", where=where,
                      found=f"{path} in cases {', '.join(names)}", mend="List it once, or correct the paths.")
            for path, names in owners.items() if len(names) > 1]


def _listed_channel_problems(name: str, paths: tuple[Path, ...], channels: int, ending: str) -> list[UserError]:
    problems = [
        UserError("Every image that dataset.json lists must exist.", where=path, found=f"{_absent(path)} (case {name})",
                  mend=GET_LINKED if path.is_symlink() else
                  "Correct the path (are its environment variables set?), or restore the file.")
        for path in paths if not image_is_there(path, ending)
    ]
    if len(paths) not in (1, channels):
        problems.append(UserError(
            "Every case must have a file for each channel.", where=f"case {name}",
            found=f"{len(paths)} files for {channels} channels", mend="List one file a channel, in channel order.",
        ))
    return problems


def _listed_label_problems(cases: list[RawCase], ending: str) -> list[UserError]:
    """Labels that are missing; and those with another ending, since copies are named, and read, by the dataset's."""
    problems = []
    for case in cases:
        if case.label is None:
            continue
        if not is_there(case.label, ending):
            problems.append(_missing_label(case))
        elif ending != FRAME_FOLDER and not case.label.name.endswith(ALSO_READ.get(ending, ending)):
            problems.append(UserError(
                "Every label must have the dataset's ending.", where=case.label,
                found=f"no {ending} file (case {case.name})",
                mend=f"Convert it to {ending}; renaming it is not enough.",
            ))
    return problems


def _missing_label(case: RawCase) -> UserError:
    assert case.label is not None
    return UserError("Every training case must have a label file.", where=case.label,
                     found=f"{_absent(case.label)} (case {case.name})", mend=GET_LINKED if case.label.is_symlink() else
                     "Add it, or list the case under `unlabelled` in dataset.json.")


def _absent(path: Path) -> str:
    return "a link to nothing" if path.is_symlink() and not path.exists() else "no such file"


def _frame_problems(cases: list[RawCase]) -> list[UserError]:
    """Label frames that lack or have no image frame; folders that are missing or empty are reported by others."""
    problems = []
    for case in cases:
        folders = [path for path in (case.images[0], case.label) if path is not None and path.is_dir()]
        names = [frame_names(folder) for folder in folders]
        if len(names) == 2 and all(names):
            problems += name_problems(names[1], names[0], folders[1])
    return problems


def _expanded(path: str, folder: Path) -> Path:
    return Path(os.path.abspath(folder / os.path.expandvars(path)))
