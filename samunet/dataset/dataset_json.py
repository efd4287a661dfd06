"""The content of dataset.json: every broken rule of a file, with what to write instead."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samunet.dataset.case_paths import FRAME_FOLDER
from samunet.dataset.io.readers import ending_problems
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError, joined

CHANNELS_MEND = 'Write a mapping of channel number to name, numbered from 0, such as {"0": "CT"}.'
ENDING_MEND = 'Write the ending of every image and label file, such as ".nii.gz", or "/" for folders of frames.'
LABELS_MEND = 'Write a mapping of name to value, such as {"background": 0, "liver": 1}.'
SHOWN_LETTERS = 300


def dataset_json_in(segmentations: Path) -> Path:
    """dataset.json in a folder of segmentations, where the commands that write them put it.

    Raises:
        UserError: no folder, or no such file in it.
    """
    path = segmentations / "dataset.json"
    if not segmentations.is_dir():
        raise UserError("The folder of segmentations must exist.", where=segmentations, found="no such folder",
                        mend="Correct the path.")
    if not path.is_file():
        raise UserError("A folder of segmentations must hold dataset.json.", where=segmentations,
                        found="no dataset.json", mend="Name a folder that samunet_predict or nnUNetv2_predict wrote, "
                        "or copy the dataset's dataset.json into this one.")
    return path


@dataclass(frozen=True)
class Description:
    """What a raw dataset's dataset.json says. `listing` is its `dataset`; None: cases are found in the folders."""

    channel_names: tuple[str, ...]
    labels: LabelSpace
    file_ending: str
    reader: str | None
    training_cases: int
    unlabelled: frozenset[str]
    listing: Mapping[str, Any] | None


def parse(content: Any, where: Path) -> Description:
    """Check the content of a raw dataset's dataset.json.

    Raises:
        UserError: every broken rule together.
    """
    if not isinstance(content, dict):
        raise UserError("dataset.json must hold an object.", where=where, found=type(content).__name__)
    problems: list[UserError] = []
    names = content.get("channel_names", content.get("modality"))
    problems += _channel_problems(content, where)
    labels = None
    if isinstance(content.get("labels"), Mapping):
        try:
            labels = LabelSpace.from_dataset_json(content, str(where))
        except UserError as fault:
            problems.append(fault)
    else:
        problems.append(_missing(content, "labels", where, LABELS_MEND))
    count = content.get("numTraining")
    if not isinstance(count, int) or isinstance(count, bool):
        problems.append(_missing(content, "numTraining", where, "Write the number of training cases."))
    problems += file_ending_problems(content, where)
    problems += _list_problems(content, where)
    if problems:
        raise joined(problems)
    assert labels is not None and isinstance(names, Mapping) and isinstance(count, int)
    return Description(
        channel_names=tuple(names[str(channel)] for channel in range(len(names))),
        labels=labels,
        file_ending=content["file_ending"],
        reader=_reader(content),
        training_cases=count,
        unlabelled=frozenset(content.get("unlabelled", ())),
        listing=content.get("dataset"),
    )


def file_ending_problems(content: Mapping[str, Any], where: Path) -> list[UserError]:
    """Whether `file_ending` is there, has its dot, and is read by samunet, or by the reader that the file names."""
    ending = content.get("file_ending")
    if not isinstance(ending, str) or not ending:
        return [_missing(content, "file_ending", where, ENDING_MEND)]
    if ending != FRAME_FOLDER and not ending.startswith("."):
        return [UserError("`file_ending` in dataset.json must begin with a dot.", where=where, found=_shown(ending),
                          mend=f'Write ".{ending}".')]
    return ending_problems(_reader(content), ending, where)


def _channel_problems(content: Mapping[str, Any], where: Path) -> list[UserError]:
    key = "channel_names" if "channel_names" in content or "modality" not in content else "modality"
    names = content.get(key)
    if not isinstance(names, Mapping):
        return [_missing(content, key, where, CHANNELS_MEND)]
    problems = []
    if not names or set(names) != set(map(str, range(len(names)))):
        problems.append(UserError(f"`{key}` in dataset.json must number the channels from 0.", where=where,
                                  found=_shown(names), mend='Write them as {"0": "CT", "1": ...}.'))
    if bad := [name for name in names.values() if not isinstance(name, str) or not name.strip()]:
        problems.append(UserError(f"Every channel in `{key}` of dataset.json must have a name.", where=where,
                                  found=_shown(bad[0]), mend=CHANNELS_MEND))
    return problems


def _list_problems(content: Mapping[str, Any], where: Path) -> list[UserError]:
    problems = []
    unlabelled = content.get("unlabelled", [])
    if not isinstance(unlabelled, list) or not all(isinstance(name, str) for name in unlabelled):
        problems.append(UserError("`unlabelled` in dataset.json must be a list of case names.", where=where,
                                  found=_shown(unlabelled), mend='Write for example ["case_07", "case_12"].'))
    if not isinstance(content.get("dataset", {}), dict):
        problems.append(UserError("`dataset` in dataset.json must map case names to images and label.", where=where,
                                  found=_shown(content["dataset"]),
                                  mend='Write {"case": {"images": ["..."], "label": "..."}}, or leave it out.'))
    return problems


def _reader(content: Mapping[str, Any]) -> str | None:
    reader = content.get("overwrite_image_reader_writer")
    return None if reader in (None, "None") else str(reader)


def _missing(content: Mapping[str, Any], key: str, where: Path, mend: str) -> UserError:
    """The error for a key that is missing or of another type."""
    found = _shown(content[key]) if key in content else f"the keys {', '.join(content) or 'of an empty object'}"
    return UserError(f"dataset.json must have `{key}`.", where=where, found=found, mend=mend)


def _shown(value: Any) -> str:
    """A value as it is written in the file, shortened if it is long."""
    text = json.dumps(value)
    return text if len(text) <= SHOWN_LETTERS else f"{text[:SHOWN_LETTERS]} ..."
