"""The output folder: a raw dataset that grows by each finished case, with the sessions and prompts of all cases.

    dataset.json                what samunet_train reads; numTraining counts the finished cases
    imagesTr/, labelsTr/        of the finished cases alone. Images are hard links where the disk has them, else copies
    prompts/<case>.json         the case's points and boxes, as samunet_predict --prompts reads them
    sessions/<case>/            session.json with the actions and undo history, and the mask, of every begun case

A case is finished if its label is in labelsTr: no second record can disagree.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from samunet.annotation.confined import require_inside
from samunet.annotation.source import Source
from samunet.dataset.case_files import image_files
from samunet.dataset.case_paths import label_ending
from samunet.dataset.dataset import read_dataset_json
from samunet.dataset.geometry import Geometry
from samunet.dataset.io.readers import reader_named
from samunet.dataset.io.tiff3d_io import label_spacing_file
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.files import copy_whole, make_folder, require_writable, write_json

FOLDERS = ("imagesTr", "labelsTr", "prompts", "sessions")


@dataclass(frozen=True)
class Project:
    """Where the annotations of `source` are written.

    Arguments:
        content: of dataset.json, numTraining left out. labels: what it says.
    """

    source: Source
    folder: Path
    content: Mapping[str, Any]
    labels: LabelSpace
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)  # of the count in dataset.json

    def session_file(self, case: str) -> Path:
        """Where the session of `case` is saved.

        Raises:
            UserError: a link out of the folder.
        """
        return require_inside(self.folder / "sessions" / case / "session.json", self.folder)

    def prompts_file(self, case: str) -> Path:
        """Where the points and boxes of `case` are saved; see `session_file`."""
        return require_inside(self.folder / "prompts" / f"{case}.json", self.folder)

    def label_file(self, case: str) -> Path:
        """Where the label of `case` is, if it is finished."""
        return require_inside(self.folder / "labelsTr" / f"{case}{label_ending(self.source.file_ending)}", self.folder)

    def is_finished(self, case: str) -> bool:
        """Whether the case is part of the dataset."""
        return self.label_file(case).is_file()

    def is_begun(self, case: str) -> bool:
        """Whether the case has a session."""
        return self.session_file(case).is_file()

    def finish(self, case: str, mask: np.ndarray, geometry: Geometry) -> None:
        """Add `case` to the dataset, or write its label again: images, then label, then dataset.json.

        Arguments:
            mask: label values (Z, Y, X) on the grid `geometry` of the image.
        """
        for source, target in self._images(case):
            _link(source, require_inside(target, self.folder))
        reader_named(geometry.reader).write_segmentation(mask.astype(self.labels.dtype), self.label_file(case),
                                                         geometry)
        self.write_dataset_json()

    def reopen(self, case: str) -> None:
        """Take `case` out of the dataset; its session stays."""
        label = self.label_file(case)
        for path in (label, label_spacing_file(label), *(target for _, target in self._images(case))):
            path.unlink(missing_ok=True)
        self.write_dataset_json()

    def prepare(self) -> None:
        """Create the folders, and complete what a killed server left: images without their label go, missing images of
        labels come back.

        Raises:
            UserError: the folder cannot be written.
        """
        require_writable(self.folder)
        for name in FOLDERS:
            make_folder(self.folder / name)
        for case in self.source.images:
            for source, target in self._images(case):
                if self.is_finished(case):
                    _link(source, require_inside(target, self.folder))
                else:
                    target.unlink(missing_ok=True)
        self.write_dataset_json()

    def write_dataset_json(self) -> None:
        """Write dataset.json for the cases that are finished now."""
        with self._lock:
            count = sum(self.is_finished(case) for case in self.source.images)
            write_json(self.folder / "dataset.json", {**self.content, "numTraining": count})

    def _images(self, case: str) -> list[tuple[Path, Path]]:
        """(file in the input, its place in imagesTr) of every file of `case`, spacing files of TIFFs included."""
        files, ending = self.source.files(case), self.source.file_ending
        places = [self.folder / "imagesTr" / f"{case}_{channel:04d}{ending}" for channel in range(len(files))]
        pairs = zip(image_files(files, self.source.reader), image_files(places, self.source.reader), strict=True)
        return [(require_inside(source, self.source.folder), target) for source, target in pairs if source.is_file()]


def project_of(source: Source, folder: Path, content: Mapping[str, Any] | None) -> Project:
    """The project of an output folder, new or begun; nothing is written.

    Arguments:
        content: `labels` and `channel_names`, and what else of dataset.json belongs to the labels; None: those of the
            dataset.json that is there.

    Raises:
        UserError: a folder that samunet_annotate did not write, other labels than those in it, no labels at all, or a
            folder in it that is a link out of it.
    """
    if source.folder.resolve() in (folder.resolve(), *folder.resolve().parents):
        raise UserError("The output folder must not be in the folder of images.", where=folder,
                        mend="Choose another folder for -o.")
    existing = _existing(folder)
    if existing is None and content is None:
        raise UserError("The classes to annotate must be given.", where="command line",
                        found="neither --labels nor -m", mend="Give for example --labels tumour=1 oedema=2.")
    given, where = dict(content or {}), folder / "dataset.json"
    for key in ("labels", "regions_class_order"):
        if existing is not None and content is not None and existing.get(key) != given.get(key):
            raise UserError("The labels must be those of the folder's dataset.json.", where=where,
                            found=f"{given.get(key)}; in the folder: {existing.get(key)}",
                            mend="Leave --labels out, choose another model, or another folder for -o.")
    # what is in the folder counts: channel names may have been corrected by hand
    merged = {**given, **(existing or {}), "file_ending": source.file_ending}
    labels = LabelSpace.from_dataset_json(merged, str(where) if existing else "--labels")
    for name in FOLDERS:
        require_inside(folder / name, folder)
    return Project(source, folder, merged, labels)


def channel_names(source: Source) -> dict[str, str]:
    """`channel_names` for a new dataset.json, by the first image; files do not say which modality they are.

    Red, green and blue of natural images; `zscore`, samunet's name of a channel in doubt, for all others.

    Raises:
        UserError: the image cannot be read.
    """
    voxels, _ = reader_named(source.reader).read_images(source.files(next(iter(source.images))))
    natural = source.reader == "NaturalImage2DIO" and len(voxels) == 3
    names = ("R", "G", "B") if natural else ("zscore",) * len(voxels)
    return {str(channel): name for channel, name in enumerate(names)}


def _existing(folder: Path) -> dict[str, Any] | None:
    """The content of the folder's dataset.json without numTraining; None for a new folder."""
    # hidden files are locks
    if not folder.exists() or (folder.is_dir() and all(path.name.startswith(".") for path in folder.iterdir())):
        return None
    if not (folder / "sessions").is_dir() or not (folder / "dataset.json").is_file():
        raise UserError("The output folder must be new, or one that samunet_annotate wrote.", where=folder,
                        found="other files", mend="Choose another folder for -o.")
    content, _ = read_dataset_json(require_inside(folder / "dataset.json", folder))
    return {key: value for key, value in content.items() if key != "numTraining"}


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source` by a hard link, or an equal copy where the disk has none."""
    real = source.resolve()
    if target.exists() and target.samefile(real):
        return
    try:
        target.unlink(missing_ok=True)
        os.link(real, target)
    except OSError:  # another disk, or one without links
        copy_whole(real, target)
