"""Every problem of every case of a raw dataset, found before hours of work and told together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samunet.console import progress, say
from samunet.dataset.case_paths import is_there, label_ending
from samunet.dataset.dataset import RawCase, RawDataset, scan_dataset
from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.dataset.readers import SEQUENCE_READERS, choose_reader, reader_named
from samunet.errors import UserError, joined
from samunet.workers import each_case


def verify_folder(folder: Path, workers: int) -> RawDataset:
    """Read the dataset in `folder` and check all of it: what `load_dataset` raises and what `verify_dataset` raises, in
    one error.
    """
    dataset, problems = scan_dataset(folder)
    problems += _case_problems(dataset, workers)
    if problems:
        raise joined(problems)
    return dataset


def verify_dataset(dataset: RawDataset, workers: int) -> None:
    """Open every file of every training case.

    Raises:
        UserError: all problems together: unreadable files, NaN or Inf, another number of channels, shapes or spacings
            that differ between channels or from the label's, labels that are 4D, fractional or not in dataset.json.
            Another origin or direction is only said.
    """
    problems = _case_problems(dataset, workers)
    if problems:
        raise joined(problems)


def channel_problems(image: np.ndarray, path: Path, channel_names: tuple[str, ...]) -> list[UserError]:
    """Whether `image` (C, Z, Y, X), whose first file is `path`, has one channel for each name."""
    if len(image) == len(channel_names):
        return []
    return [UserError(
        "A case must have the channels that dataset.json names.", where=path, found=f"{len(image)} channels",
        mend=f"Give {len(channel_names)}: {', '.join(channel_names)}.",
    )]


def grid_problems(label: Geometry, image: Geometry, path: Path) -> list[UserError]:
    """Whether the label file `path` has the shape and the spacing of its image."""
    problems = []
    # Where frames of other names were found, their number is told with them (see `scan_dataset`).
    axes = slice(0 if label.frames == image.frames else 1, 3)
    if label.shape[axes] != image.shape[axes]:
        problems.append(UserError(
            "A label file must have its image's shape.", where=path,
            found=f"{label.shape}; the image has {image.shape} (z, y, x)",
            mend="Give a label frame of its size for each of its frames." if image.reader in SEQUENCE_READERS
            else "Resample the label onto the image's grid.",
        ))
    if not np.allclose(label.spacing_mm, image.spacing_mm):
        problems.append(UserError(
            "A label file must have its image's spacing.", where=path,
            found=f"{label.spacing_mm} mm; the image has {image.spacing_mm} mm (z, y, x)",
            mend="Resample the label onto the image's grid, or correct the header.",
        ))
    return problems


def value_problems(segmentation: np.ndarray, labels: LabelSpace, path: Path) -> list[UserError]:
    """Whether the label file `path` holds only values (ignore included) that dataset.json lists."""
    known = labels.known
    values, counts = np.unique(segmentation, return_counts=True)
    unknown = [f"{value} ({count} voxels)" for value, count in zip(values.tolist(), counts, strict=True) if value not in known]
    if not unknown:
        return []
    return [UserError(
        "A label file must hold only values that dataset.json lists.", where=path, found=", ".join(unknown[:10]),
        mend="Correct the file, or add the label to dataset.json.",
    )]


@dataclass(frozen=True)
class _Job:
    case: RawCase
    reader: str
    channel_names: tuple[str, ...]
    labels: LabelSpace
    file_ending: str


def _case_problems(dataset: RawDataset, workers: int) -> list[UserError]:
    if not dataset.cases:
        return []
    try:
        reader = choose_reader(dataset)
    except UserError as fault:
        return [fault]
    jobs = [_Job(case, reader, dataset.channel_names, dataset.labels, dataset.file_ending) for case in dataset.cases]
    names = [case.name for case in dataset.cases]
    found = dict(progress(each_case(_check, jobs, names, workers), "Checking", len(jobs)))
    for name in names:
        for warning in found[name][1]:
            say(warning)
    return [problem for name in names for problem in found[name][0]]


def _check(job: _Job) -> tuple[list[UserError], list[str]]:
    """The problems and the warnings of one case. What `scan_dataset` tells, a file that is missing, is not told again."""
    case, reader = job.case, reader_named(job.reader)
    problems: list[UserError] = []
    image_geometry = None
    if all(is_there(path, job.file_ending) for path in case.images):
        try:
            image, image_geometry = reader.read_images(case.images)
            problems += channel_problems(image, case.images[0], job.channel_names)
        except UserError as fault:
            problems.append(fault)
    if case.label is None or not is_there(case.label, label_ending(job.file_ending)):
        return problems, []
    try:
        segmentation, geometry = reader.read_segmentation(case.label)
    except UserError as fault:
        return [*problems, fault], []
    problems += value_problems(segmentation, job.labels, case.label)
    if image_geometry is None:
        return problems, []
    problems += grid_problems(geometry, image_geometry, case.label)
    warnings = []
    if not geometry.same_place(image_geometry):
        warnings.append(f"Warning: origin or direction of {case.label} differs from that of its image; check that they overlap.")
    return problems, warnings
