"""A raw dataset of nnU-Net v1 as one of version 2, as `nnUNetv2_convert_old_nnUNet_dataset` makes it."""

from __future__ import annotations

from pathlib import Path

from samunet.dataset.conversion.description import ENDING, converted, read_old_description
from samunet.dataset.conversion.new_dataset import new_dataset
from samunet.dataset.folder_listing import Listing, list_folder
from samunet.dataset.image_folder import images_of
from samunet.dataset.paths import Paths
from samunet.errors import UserError, joined, some
from samunet.files import copy_whole, make_folder, write_json

_FOLDERS = ("imagesTr", "labelsTr", "imagesTs", "labelsTs", "imagesVal", "labelsVal")
_DROPPED = ("tensorImageSize", "numTest", "training", "test")


def convert_old_nnunet(source: Path, name: str, paths: Paths) -> Path:
    """Write `<raw>/<name>` of the folder `source` of a task of nnU-Net v1; returns its folder.

    Images and labels are copied as they are. Differences from nnU-Net: only files ending in .nii.gz that are not hidden
    are copied; cases without label or with missing channels are refused; `numTraining` is the number of cases; keys
    that version 2 drops may be missing already.

    Arguments:
        name: DatasetXXX_NAME.

    Raises:
        UserError: another layout, missing files, a name of another form, or a number that is taken. Nothing is written
            then.
    """
    listings = [list_folder(source / folder, ENDING) for folder in _FOLDERS
                if folder in _FOLDERS[:2] or (source / folder).is_dir()]
    old = read_old_description(source)
    images = images_of(source / "imagesTr", ENDING, len(old.channels))
    problems = images.problems + images.case_problems
    problems += [fault for listing in listings[1:] for fault in listing.link_problems()]
    problems += _unpaired(source, set(images.images), listings[1])
    if problems:
        raise joined(problems)
    description = converted(old, _DROPPED, len(images.images))
    with new_dataset(name, paths) as work:
        for listing in listings:
            listing.say_passed_over()
            folder = make_folder(work / listing.folder.name)
            for path in listing.paths:
                copy_whole(path, folder / path.name)
        write_json(work / "dataset.json", description)
    return paths.raw / name


def _unpaired(source: Path, cases: set[str], listing: Listing) -> list[UserError]:
    labels = {path.name.removesuffix(ENDING) for path in listing.paths}
    return [UserError("Every training case must have its label, and every label its images.",
                      where=source / folder, found=f"missing: {some(sorted(missing))}", mend="Restore the files.")
            for folder, missing in (("labelsTr", cases - labels), ("imagesTr", labels - cases)) if missing]
