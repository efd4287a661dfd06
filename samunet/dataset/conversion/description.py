"""dataset.json of the Medical Segmentation Decathlon and of nnU-Net v1, turned into nnU-Net v2's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from samunet.console import say
from samunet.dataset import dataset_json
from samunet.errors import UserError, some
from samunet.files import read_json
from samunet.schema import decode

ENDING = ".nii.gz"
_Number = Annotated[str, Meta(pattern=r"^[0-9]{1,6}\Z")]


@dataclass(frozen=True)
class _Old:
    modality: Annotated[dict[_Number, str], Meta(min_length=1)]
    labels: Annotated[dict[_Number, str], Meta(min_length=1)]
    numTraining: int


@dataclass(frozen=True)
class OldDescription:
    """The content of an old dataset.json, checked: names of channels and of label values by their numbers."""

    path: Path
    content: dict[str, Any]
    channels: dict[str, str]
    labels: dict[str, str]
    training_cases: int


def read_old_description(source: Path) -> OldDescription:
    """Read dataset.json in the folder `source`.

    Raises:
        UserError: no JSON, or a key that is missing or of another form.
    """
    path = source / "dataset.json"
    content: dict[str, Any] = read_json(path)
    old = decode(_Old, content, rule="dataset.json must have `modality` and `labels` that map numbers to names.",
                 where=path, mend="Restore the dataset's own file. One of nnU-Net v2 needs no conversion.")
    return OldDescription(path, content, old.modality, old.labels, old.numTraining)


def converted(old: OldDescription, dropped: Iterable[str], cases: int) -> dict[str, Any]:
    """The content of the new dataset.json: labels by name, `channel_names`, `file_ending`, all other keys as they are.

    Keys keep their order; new ones come last. `numTraining` becomes the number of cases that are there, and a line says
    so where it differs.

    Arguments:
        dropped: keys that version 2 does not have, beside `modality`.

    Raises:
        UserError: labels or channels that version 2 does not permit.
    """
    labels = {name: int(number) for number, name in old.labels.items()}
    if len(labels) < len(old.labels):
        raise UserError("Every label in dataset.json must have a name of its own.", where=old.path,
                        found=some(sorted(old.labels.values())), mend="Correct `labels`.")
    if old.training_cases != cases:
        say(f"Warning: {old.path} says numTraining {old.training_cases}, and {cases} training cases are there; the new "
            f"dataset.json says {cases}.")
    new = {key: value for key, value in old.content.items() if key not in {*dropped, "modality"}}
    new |= {"labels": labels, "numTraining": cases, "file_ending": ENDING, "channel_names": old.channels}
    dataset_json.parse(new, old.path)
    return new
