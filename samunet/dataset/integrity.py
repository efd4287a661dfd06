"""Find every problem of every case of a raw dataset before the work starts, and report them together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samunet.console import progress
from samunet.dataset.alignment import LABEL, on_grid
from samunet.dataset.case_paths import image_is_there, is_there, label_ending
from samunet.dataset.dataset import RawCase, RawDataset, scan_dataset
from samunet.dataset.io.readers import choose_reader, reader_named
from samunet.dataset.labels import LabelSpace
from samunet.dataset.segmentations import value_problems
from samunet.errors import UserError, joined
from samunet.workers import each_case


def verify_folder(folder: Path, workers: int) -> RawDataset:
    """Read the dataset in `folder` and open every file of every training case.

    Raises:
        UserError: all problems together: those of `load_dataset`, unreadable files, NaN or Inf, another number of
            channels, channels or labels on another grid than their image (see `alignment.on_grid`), labels that are 4D,
            fractional or not in dataset.json.
    """
    dataset, problems = scan_dataset(folder)
    problems += _case_problems(dataset, workers)
    if problems:
        raise joined(problems)
    return dataset


def channel_problems(image: np.ndarray, path: Path, channel_names: tuple[str, ...]) -> list[UserError]:
    """Whether `image` (C, Z, Y, X), whose first file is `path`, has one channel for each name."""
    if len(image) == len(channel_names):
        return []
    return [UserError(
        "A case must have the channels that dataset.json names.", where=path, found=f"{len(image)} channels",
        mend=f"Give {len(channel_names)}: {', '.join(channel_names)}.",
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
    return [problem for name in names for problem in found[name]]


def _check(job: _Job) -> list[UserError]:
    """The problems of one case.

    Missing files and frames with other names are left out: `scan_dataset` reports them.
    """
    case, reader = job.case, reader_named(job.reader)
    problems: list[UserError] = []
    image_geometry = None
    if all(image_is_there(path, job.file_ending) for path in case.images):
        try:
            image, image_geometry = reader.read_images(case.images)
            problems += channel_problems(image, case.images[0], job.channel_names)
        except UserError as fault:
            problems.append(fault)
    if case.label is None or not is_there(case.label, label_ending(job.file_ending)):
        return problems
    try:
        segmentation, geometry = reader.read_segmentation(case.label)
    except UserError as fault:
        return [*problems, fault]
    problems += value_problems(segmentation, job.labels, case.label)
    if (image_geometry is None
        or (geometry.frames != image_geometry.frames and geometry.shape[1:] == image_geometry.shape[1:])):
        return problems
    return problems + on_grid(segmentation, geometry, image_geometry, case.label, case.images[0], LABEL)[1]
