"""A folder of images, CASE_0000.ending, CASE_0001.ending, ...: which of them belong to which case.

Where files are volumes, a folder CASE of DICOM files is a case too, of one channel.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from samunet.dataset.case_names import case_name_problems
from samunet.dataset.case_paths import FRAME_FOLDER
from samunet.dataset.folder_listing import A_FOLDER, Listing, list_folder
from samunet.dataset.io.dicom_files import series_folders
from samunet.dataset.io.frame_names import say_passed_over_frames
from samunet.dataset.io.readers import VOLUME_ENDINGS
from samunet.errors import UserError, some

_CHANNEL_FILE = re.compile(r"(?P<name>.+)_(?P<channel>[0-9]{4})", re.DOTALL)


@dataclass(frozen=True)
class ImageFolder:
    """The cases of a folder of images.

    Arguments:
        images: case name -> its image files (or folders) in channel order, those of bad cases among them; sorted.
        problems: what is wrong with the folder as a whole.
        case_problems: what is wrong with single cases; the others can be used without them.
        bad: the names of these cases.
    """

    images: dict[str, tuple[Path, ...]]
    problems: list[UserError]
    case_problems: list[UserError]
    bad: frozenset[str]


def images_of(folder: Path, file_ending: str, channels: int) -> ImageFolder:
    """The images CASE_XXXX + `file_ending` in `folder`; ignored files are named in one warning.

    The folder is wrong as a whole if it is missing, holds no image, or holds one without channel number. A case is
    bad if a channel is missing, surplus or a link to nothing, or if its name cannot be used. A folder of a DICOM series
    is a case with the folder's name, of one channel: `_0000` at its end is no channel number.

    Arguments:
        channels: number of channels in dataset.json.
    """
    try:
        require_folder(folder)
        listing = list_folder(folder, file_ending)
    except UserError as fault:
        return ImageFolder({}, [fault], [], frozenset())
    series = _series_in(listing, file_ending)
    listing = listing.without([path.name for path in series])
    listing.say_passed_over()
    numbered, unnumbered = _by_case(listing, file_ending)
    twice = [path.name for path in series if path.name in numbered]
    numbered |= {path.name: {0: path} for path in series}
    images = {name: tuple(path for _, path in sorted(files.items())) for name, files in sorted(numbered.items())}
    if file_ending == FRAME_FOLDER:
        say_passed_over_frames(path for paths in images.values() for path in paths)
    case_problems, bad = case_name_problems(images, file_ending, folder)
    case_problems += listing.link_problems()
    if broken := set(listing.broken_links):
        bad |= {name for name, paths in images.items() if not broken.isdisjoint(paths)}
    # A file may hold all channels (4D, RGB); then every case has one file, and reading counts the channels.
    expected = 1 if numbered and all(list(files) == [0] for files in numbered.values()) else channels
    for name, files in sorted(numbered.items()):
        if problems := _channel_problems(name, set(files), expected, folder, file_ending):
            case_problems += problems
            bad.add(name)
    problems = _folder_problems(listing, unnumbered, file_ending, series) + _double_problems(twice, folder)
    return ImageFolder(images, problems, case_problems, frozenset(bad))


def require_folder(folder: Path) -> None:
    """Raises UserError if the folder of images does not exist."""
    if not folder.is_dir():
        raise UserError("The folder of images must exist.", where=folder,
                        found="a file" if folder.exists() else "no such folder")


def _series_in(listing: Listing, file_ending: str) -> list[Path]:
    """The folders of DICOM series beside, or instead of, files of volumes; other formats have none."""
    if file_ending.lower() not in VOLUME_ENDINGS:
        return []
    return series_folders(listing.folder / name for name in listing.passed_over.get(A_FOLDER, ()))


def _by_case(listing: Listing, file_ending: str) -> tuple[dict[str, dict[int, Path]], list[str]]:
    """Case name -> channel number -> file; and the names without a channel number."""
    numbered: dict[str, dict[int, Path]] = {}
    unnumbered = []
    for path in listing.paths:
        match = _CHANNEL_FILE.fullmatch(path.name.removesuffix(file_ending))
        if match:
            numbered.setdefault(match["name"], {})[int(match["channel"])] = path
        else:
            unnumbered.append(path.name)
    return numbered, unnumbered


def _double_problems(twice: list[str], folder: Path) -> list[UserError]:
    """Cases that are there as files and as a DICOM series."""
    return [UserError("A case must be there once: as image files or as a DICOM series.", where=folder,
                      found=f"both for {some(twice)}", mend="Remove one of them.")] if twice else []


def _folder_problems(
    listing: Listing, unnumbered: list[str], file_ending: str, series: list[Path]
) -> list[UserError]:
    if unnumbered:
        return [UserError(
            f"Image files must be named CASE_XXXX{file_ending}, XXXX the channel number.", where=listing.folder,
            found=some(unnumbered), mend=f"Rename them, for example to CASE_0000{file_ending}.",
        )]
    if not listing.paths and not series:
        others = some(sorted(name for names in listing.passed_over.values() for name in names)) or "nothing"
        return [UserError(f"The folder of images must hold files CASE_0000{file_ending}.", where=listing.folder,
                          found=others, mend="Put the images there, or correct `file_ending`. DICOM files belong "
                                             "into one folder for each case.")]
    return []


def _channel_problems(name: str, found: set[int], expected: int, folder: Path, file_ending: str) -> list[UserError]:
    problems = []
    if missing := sorted(set(range(expected)) - found):
        problems.append(UserError(
            "Every case must have a file for each channel.", where=folder,
            found=f"case {name} lacks " + ", ".join(f"{name}_{channel:04d}{file_ending}" for channel in missing),
            mend="Add the missing files, or remove the case.",
        ))
    if extra := sorted(found - set(range(expected))):
        problems.append(UserError(
            "A case must not have more channel files than dataset.json names channels.", where=folder,
            found=f"case {name} has " + ", ".join(f"{name}_{channel:04d}{file_ending}" for channel in extra),
            mend="Name the channels in `channel_names`, or remove the files.",
        ))
    return problems
