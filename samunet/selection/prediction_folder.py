"""A folder of predictions, samunet's or nnU-Net's: its labels, file ending, reader and cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samunet.dataset.case_paths import FRAME_FOLDER, label_ending
from samunet.dataset.dataset import read_dataset_json
from samunet.dataset.dataset_json import dataset_json_in
from samunet.dataset.folder_listing import list_folder
from samunet.dataset.io.readers import reader_named
from samunet.dataset.label_colours import write_label_colours
from samunet.dataset.labels import LabelSpace
from samunet.dataset.segmentations import reader_of_listing
from samunet.errors import UserError, joined
from samunet.files import copy_whole, read_json

DATASET_JSON, PLANS_JSON = "dataset.json", "plans.json"
POSTPROCESSED = "postprocessed"  # nnU-Net's name of the folder inside the predictions' own


@dataclass(frozen=True)
class PredictionFolder:
    """Segmentations <case><ending> in `folder`, which `reader` reads, with values of `labels`.

    `dataset_json` and `plans_json` are the files that say so; plans are optional.
    """

    folder: Path
    labels: LabelSpace
    ending: str
    reader: str
    dataset_json: Path
    plans_json: Path | None

    def cases(self) -> list[str]:
        """Names of the cases that have a segmentation, sorted.

        Raises:
            UserError: the folder cannot be read, has no segmentation, or a link leads nowhere.
        """
        listing = list_folder(self.folder, self.ending)
        if problems := listing.link_problems():
            raise joined(problems)
        listing.say_passed_over()
        names = [path.name.removesuffix(self.ending) for path in listing.paths]
        if self.ending == FRAME_FOLDER:
            names = [name for name in names if name != POSTPROCESSED]
        if not names:
            raise UserError("A folder of predictions must hold segmentations.", where=self.folder,
                            found=f"no file that ends with {self.ending}",
                            mend="Name the folder that samunet_predict wrote.")
        return names

    def segmentation(self, case: str) -> Path:
        """The segmentation of a case."""
        return self.folder / f"{case}{self.ending}"

    def copy_companions(self, output: Path) -> None:
        """Copy dataset.json and, if there is one, plans.json to `output`; write the labels' names and colours there."""
        copy_whole(self.dataset_json, output / DATASET_JSON)
        write_label_colours(output, self.labels)
        if self.plans_json is not None:
            copy_whole(self.plans_json, output / PLANS_JSON)


def open_predictions(
    folder: Path, dataset_json: Path | None = None, plans_json: Path | None = None
) -> PredictionFolder:
    """Read what is known of a folder of predictions.

    The reader is the one that plans.json names, since it decides the axes of probabilities; without plans the one that
    dataset.json names or the file ending implies.

    Arguments:
        dataset_json, plans_json: default: the files of these names in `folder`; there may be no plans.

    Raises:
        UserError: no folder, no dataset.json, or one of both files is not valid.
    """
    dataset_json = dataset_json or dataset_json_in(folder)
    if plans_json is None and (folder / PLANS_JSON).is_file():
        plans_json = folder / PLANS_JSON
    content, labels = read_dataset_json(dataset_json)
    ending = label_ending(content["file_ending"])
    reader = _reader_in(plans_json) if plans_json else None
    if reader is None:
        reader = reader_of_listing(content, list_folder(folder, ending), dataset_json)
    return PredictionFolder(folder, labels, ending, reader, dataset_json, plans_json)


def _reader_in(plans_json: Path) -> str | None:
    """The reader that nnU-Net's plans name as `image_reader_writer`, and samunet's as `dataset.reader`."""
    content: Any = read_json(plans_json)
    section = content.get("dataset") if isinstance(content, Mapping) else None
    name = section.get("reader") if isinstance(section, Mapping) else None
    if isinstance(content, Mapping) and "image_reader_writer" in content:
        name = content["image_reader_writer"]
    if name is None:
        return None
    if not isinstance(name, str):
        raise UserError("plans.json must name its reader.", where=plans_json, found=repr(name)[:100],
                        mend="Restore the file, or name another with -plans_json.")
    return reader_named(name).name
