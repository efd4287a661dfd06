"""Read a segmentation for use with another file: check its frames and values, bring it onto that file's grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from samunet.dataset.alignment import PREDICTION, SEGMENTATION, on_grid
from samunet.dataset.folder_listing import Listing
from samunet.dataset.geometry import Geometry
from samunet.dataset.io.frame_names import name_problems
from samunet.dataset.io.readers import reader_for, reader_named
from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError, joined

MOST_VALUES = 10  # listed in one message


def read_on_grid(
    reader: str, path: Path, wanted: Geometry, other: Path, labels: LabelSpace | None, rule: str
) -> tuple[np.ndarray, list[UserError]]:
    """The segmentation `path`, int16 (1, Z, Y, X), on the grid `wanted` of the file `other`, and what is wrong with it.

    Arguments:
        reader: a reader-writer's name.
        labels: what its values must be of; None: values are not checked.
        rule: see `samunet.dataset.alignment.on_grid`.

    Raises:
        UserError: a file that cannot be read.
    """
    segmentation, found = reader_named(reader).read_segmentation(path)
    if problems := name_problems(found.frames, wanted.frames, path, "reference" if rule == PREDICTION else "image"):
        return segmentation, problems
    segmentation, problems = on_grid(segmentation, found, wanted, path, other, rule)
    return segmentation, problems + (value_problems(segmentation, labels, path) if labels else [])


def reader_of_listing(content: Mapping[str, Any], listing: Listing, where: Path) -> str:
    """Name of the reader-writer of listed segmentations, by the content of the dataset.json `where`.

    Raises:
        UserError: see `reader_for`.
    """
    example = next((path for path in listing.paths if path not in listing.broken_links), None)
    return reader_for(content.get("overwrite_image_reader_writer"), content["file_ending"], example, where)


def start_on_grid(
    reader: str, path: Path, wanted: Geometry, other: Path, labels: LabelSpace
) -> np.ndarray:
    """The label map `path` that prompts start from, int16 (Z, Y, X), on its image's grid; see `read_on_grid`.

    Raises:
        UserError: a file that cannot be read, another grid, unknown labels, or the ignore label.
    """
    segmentation, problems = read_on_grid(reader, path, wanted, other, labels, SEGMENTATION)
    if problems := problems + ignore_problems(segmentation, labels, path):
        raise joined(problems)
    return np.asarray(segmentation[0])


def ignore_problems(segmentation: np.ndarray, labels: LabelSpace, path: Path) -> list[UserError]:
    """Whether a label map that prompts start from has the ignore label, which says nothing of what is there."""
    if labels.ignore is None or not (segmentation == labels.ignore).any():
        return []
    return [UserError("A mask to start from must not hold the ignore label.", where=path, found=str(labels.ignore),
                      mend="Set these voxels to background, or to a label.")]


def value_problems(segmentation: np.ndarray, labels: LabelSpace, path: Path) -> list[UserError]:
    """Whether the file `path` holds only values (ignore included) that dataset.json lists."""
    known = labels.known
    # As Python's int, since 255 + 1 is 0 in an array of bytes.
    if known.issuperset(range(int(segmentation.min(initial=0)), int(segmentation.max(initial=0)) + 1)):
        return []  # nearly every file; a hundred times as fast as counting each value
    values, counts = np.unique(segmentation, return_counts=True)
    unknown = [f"{value} ({count} voxels)" for value, count in zip(values.tolist(), counts, strict=True)
               if value not in known]
    if not unknown:
        return []
    return [UserError(
        "A label file or prediction must hold only values that dataset.json lists.", where=path,
        found=", ".join(unknown[:MOST_VALUES]),
        mend="Renumber the values in the file (a mask of 0 and 255 to 0 and 1), or add the label to dataset.json.",
    )]
