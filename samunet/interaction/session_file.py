"""A session as files: JSON with its actions, and its mask beside it on the image's grid."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from samunet.console import say
from samunet.dataset.case_paths import label_ending
from samunet.dataset.io.readers import reader_named
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.files import digest_of_path, read_json, write_json
from samunet.interaction.actions import Action
from samunet.interaction.history import History
from samunet.interaction.image import SessionImage
from samunet.interaction.masks import read_mask

VERSION: Literal[1] = 1
RULE = "A session's file must be as Session.save wrote it."
MEND = "Restore the file from a copy, or begin a new session."
NO_IMAGE = "A session must be continued with its image."


@dataclass(frozen=True)
class RecordedImage:
    """`paths` are absolute, empty for an array; `digest` is `SessionImage.digest`; `shape` is (z, y, x)."""

    paths: list[str]
    digest: str
    shape: tuple[int, int, int]


@dataclass(frozen=True)
class RecordedModel:
    """The folder of the model that answered, and the digest of what it is made of."""

    folder: str
    digest: str


@dataclass(frozen=True)
class RecordedMask:
    """The mask's file, beside the session's, and the digest of its bytes."""

    file: str
    digest: str


@dataclass(frozen=True)
class Record:
    """What a session's file holds, checked; the first `cursor` of `actions` give the mask. `path` is not in the file.
    """

    version: Literal[1]
    image: RecordedImage
    model: RecordedModel | None
    labels: dict[str, int | list[int]]
    actions: list[Action]
    cursor: Annotated[int, Meta(ge=0)]
    recorded_mask: RecordedMask
    regions_class_order: list[int] | None = None
    path: str = ""

    @property
    def model_folder(self) -> str | None:
        """Of the model that answered."""
        return self.model.folder if self.model else None

    @property
    def label_values(self) -> dict[str, int]:
        """Name -> value, of a session without a model."""
        return {name: value for name, value in self.labels.items() if isinstance(value, int) and value}

    @property
    def image_paths(self) -> list[str]:
        """The image's files.

        Raises:
            UserError: it was an array.
        """
        if not self.image.paths:
            raise UserError("The image of this session was an array, and must be given again.", where=self.path,
                            mend="Call Session.load with image and spacing_mm.")
        return self.image.paths

    def is_of(self, model: RecordedModel | None) -> bool:
        """Whether `model` answered its prompts, wherever its folder is now; None: no model did."""
        return (model.digest if model else None) == (self.model.digest if self.model else None)

    def require_model(self, found: RecordedModel | None) -> None:
        """Refuse another model than the one that answered.

        Raises:
            UserError: names both.
        """
        if not self.is_of(found):
            raise UserError("A session must be continued with its model.", where=self.path,
                            found=f"{found.folder if found else 'no model'}; recorded: "
                                  f"{self.model.folder if self.model else 'no model'}",
                            mend="Name the recorded model, or begin a new session from the saved mask with set_mask.")

    def require_labels(self, labels: LabelSpace) -> None:
        """Refuse other labels than those recorded.

        Raises:
            UserError: names both.
        """
        if labels_of(labels) != (self.labels, self.regions_class_order):
            raise UserError("A session must be continued with its labels.", where=self.path,
                            found=f"{labels_of(labels)[0]}; recorded: {self.labels}", mend=MEND)

    def require_image(self, image: SessionImage) -> None:
        """Refuse another image than the one recorded.

        Raises:
            UserError: names its file.
        """
        if image.digest != self.image.digest:
            raise UserError(NO_IMAGE, where=self.path,
                            found=f"{image.place} of shape {image.shape}, other voxels or another grid than recorded",
                            mend=f"Restore the image{': ' + self.image.paths[0] if self.image.paths else ''}, or name "
                                 "where it is now.")

    def mask(self, image: SessionImage, labels: LabelSpace) -> np.ndarray | None:
        """The saved mask; None, with a line that says so, where its file is missing or was changed since."""
        path = Path(self.path).parent / self.recorded_mask.file
        if os.path.exists(path) and digest_of_path(path) == self.recorded_mask.digest:
            return read_mask(path, image, labels)
        say(f"{path} is missing or was changed; the mask is recomputed from the session's actions.")
        return None


def save(
    path: Path, image: SessionImage, history: History, labels: LabelSpace, model: RecordedModel | None
) -> Path:
    """Write the mask, then the JSON that names its digest, each whole or not at all; see `Session.save`.

    A process that is killed in between leaves a mask that the old JSON does not know: it is then recomputed.
    """
    if path.suffix != ".json":
        raise UserError("A session's file must end with .json.", where=path,
                        mend="Name it session.json, for example; the mask is written beside it.")
    ending = label_ending(image.ending)
    mask = path.with_name(f"{path.name.removesuffix('.json')}_mask{ending}".rstrip("/"))
    if os.path.realpath(mask) in map(os.path.realpath, image.paths):
        raise UserError("A session's mask must not replace its image.", where=mask, mend="Choose another name.")
    reader_named(image.geometry.reader).write_segmentation(history.mask, mask, image.geometry)
    names, order = labels_of(labels)
    record = Record(VERSION, RecordedImage([str(each) for each in image.paths], image.digest, image.shape), model,
                    names, history.actions, history.cursor,
                    RecordedMask(mask.name, digest_of_path(mask)), order)
    content = msgspec.to_builtins(record)
    del content["path"]
    write_json(path, content)
    return mask


def read(path: Path) -> Record:
    """Read and check a session's file.

    Raises:
        UserError: no such file, no JSON, another form or version, a cursor beyond the actions, an action of an unknown
            label, a mask that is not beside the file.
    """
    content = read_json(path)
    try:
        record = msgspec.convert(content, Record)
    except msgspec.ValidationError as fault:
        raise UserError(RULE, where=path, found=str(fault), mend=MEND) from fault
    if record.cursor > len(record.actions):
        raise UserError(RULE, where=path, found=f"cursor {record.cursor} of {len(record.actions)} actions", mend=MEND)
    if Path(record.recorded_mask.file).name != record.recorded_mask.file:
        raise UserError(RULE, where=path, found=f"a mask in another folder: {record.recorded_mask.file}", mend=MEND)
    return replace(record, path=str(path))


def labels_of(labels: LabelSpace) -> tuple[dict[str, Any], list[int] | None]:
    """A label space as JSON types."""
    names = {name: list(value) if isinstance(value, tuple) else value for name, value in labels.names.items()}
    return names, None if labels.regions_class_order is None else list(labels.regions_class_order)
