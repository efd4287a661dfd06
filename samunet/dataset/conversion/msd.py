"""A task of the Medical Segmentation Decathlon as a raw dataset, as `nnUNetv2_convert_MSD_dataset` makes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from samunet.console import progress
from samunet.dataset.case_names import case_name_problems
from samunet.dataset.conversion.description import ENDING, converted, read_old_description
from samunet.dataset.conversion.new_dataset import new_dataset
from samunet.dataset.conversion.nifti_channels import split_channels
from samunet.dataset.folder_listing import list_folder
from samunet.dataset.paths import Paths
from samunet.errors import UserError, joined, some
from samunet.files import copy_whole, make_folder, write_json
from samunet.workers import each_case

_TASK = re.compile(r"Task(?P<number>[0-9]{1,6})_(?P<name>.+)")
_DROPPED = ("training", "test")
_TRAINING, _TEST, _LABELS = "imagesTr", "imagesTs", "labelsTr"


@dataclass(frozen=True)
class _Job:
    image: Path
    folder: Path
    channels: int

    def name(self) -> str:
        return self.image.name.removesuffix(ENDING)


def convert_msd(source: Path, paths: Paths, number: int | None, workers: int) -> Path:
    """Write `<raw>/DatasetXXX_NAME` of the task's folder `source`, TaskXX_NAME; returns its folder.

    Files that begin with `.` or `_` are skipped, as nnU-Net does. Labels, and images of one channel, are copied as they
    are; those of several become one file a channel. Differences from nnU-Net: stored voxels and header fields are
    copied, where ITK scales and rewrites them; imagesTs may be missing; every image needs its label and the channels of
    `modality`; `numTraining` is the number of cases.

    Arguments:
        number: of the new dataset; None takes the task's.

    Raises:
        UserError: another layout, a number that is taken, images without label or labels without image, a damaged file
            or one with other channels. Nothing is written then.
    """
    task = _TASK.fullmatch(source.resolve().name)
    if task is None:
        raise UserError("The folder of a task must be named TaskXX_NAME.", where=source, found=source.resolve().name,
                        mend="Rename it, for example to Task04_Hippocampus.")
    training, labels = (_files_of(source / folder) for folder in (_TRAINING, _LABELS))
    test = _files_of(source / _TEST) if (source / _TEST).is_dir() else {}
    _require_pairs(source, training, labels, test)
    old = read_old_description(source)
    description = converted(old, _DROPPED, len(training))
    name = f"Dataset{int(task['number']) if number is None else number:03d}_{task['name']}"
    with new_dataset(name, paths) as work:
        for folder in (_TRAINING, _TEST, _LABELS):
            make_folder(work / folder)
        jobs = [_Job(image, work / folder, len(old.channels))
                for folder, images in ((_TRAINING, training), (_TEST, test)) for image in images.values()]
        names = [f"{job.folder.name}/{job.name()}" for job in jobs]
        for _ in progress(each_case(_split, jobs, names, workers), "converting", len(jobs)):
            pass
        for label in labels.values():
            copy_whole(label, work / _LABELS / label.name)
        write_json(work / "dataset.json", description)
    return paths.raw / name


def _split(job: _Job) -> None:
    split_channels(job.image, job.folder, job.name(), job.channels)


def _files_of(folder: Path) -> dict[str, Path]:
    """Case name -> file."""
    listing = list_folder(folder, ENDING)
    if problems := listing.link_problems():
        raise joined(problems)
    return {path.name.removesuffix(ENDING): path for path in listing.paths if not path.name.startswith("_")}


def _require_pairs(source: Path, training: dict[str, Path], labels: dict[str, Path], test: dict[str, Path]) -> None:
    problems = case_name_problems({**training, **test}, ENDING, source)[0]
    for folder, missing in ((_LABELS, sorted(set(training) - set(labels))),
                            (_TRAINING, sorted(set(labels) - set(training)))):
        if missing:
            problems.append(UserError(
                "Every training image of a task must have a label of the same name, and every label an image.",
                where=source / folder, found=f"missing: {some([name + ENDING for name in missing])}",
                mend="Restore the files. If images end in _0000.nii.gz, this is a dataset of nnU-Net: see "
                     "samunet_convert_old_nnUNet_dataset."))
    if not training:
        problems.append(UserError("A task must have training images.", where=source / _TRAINING, found="none"))
    if problems:
        raise joined(problems)
