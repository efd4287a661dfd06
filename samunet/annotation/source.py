"""The cases of the folder to annotate: nnU-Net's names (CASE_0000.nii.gz, ...), or plain images, one a case."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from samunet.annotation.confined import require_inside
from samunet.console import say
from samunet.dataset.case_names import case_name_problems
from samunet.dataset.case_paths import is_there
from samunet.dataset.folder_listing import list_folder
from samunet.dataset.image_folder import images_of
from samunet.dataset.io.readers import reader_for
from samunet.errors import UserError, joined, some

# Formats whose files are images. Videos and folders of frames are left to tools that play them.
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".gipl", ".png", ".bmp", ".tif", ".tiff")
_NUMBERED = re.compile(r".+_[0-9]{4}", re.DOTALL)


@dataclass(frozen=True)
class Source:
    """The images to annotate.

    Arguments:
        images: case name -> its files in channel order; sorted. reader: name of the reader-writer of the files.
    """

    folder: Path
    file_ending: str
    reader: str
    images: Mapping[str, tuple[Path, ...]]

    def files(self, case: str) -> tuple[Path, ...]:
        """The image files of `case`, checked again: a file may have become a link since the folder was listed.

        Raises:
            UserError: a link out of the folder.
        """
        return tuple(require_inside(path, self.folder) for path in self.images[case])


def find_source(folder: Path, file_ending: str | None = None, reader: str | None = None) -> Source:
    """List `folder`; cases that cannot be used are named in a message and left out.

    Arguments:
        file_ending: the only ending that counts, such as a model's; None: the one ending of images that is there.
        reader: `overwrite_image_reader_writer` of the model's dataset.json; None chooses by the ending.

    Raises:
        UserError: no folder, no images, several formats, names with and without channel number, or only bad cases.
    """
    if not folder.is_dir():
        raise UserError("The folder of images must exist.", where=folder, found="no such folder")
    ending = file_ending or _ending_of(folder)
    listing = list_folder(folder, ending)
    stems = [path.name.removesuffix(ending) for path in listing.paths]
    numbered = [stem for stem in stems if _NUMBERED.fullmatch(stem)]
    if 0 < len(numbered) < len(stems):
        others = sorted(set(stems) - set(numbered))
        raise UserError("Images must all have a channel number (CASE_0000), or none of them.", where=folder,
                        found=f"without: {some(others)}", mend="Rename the files.")
    if numbered or not stems:
        channels = 1 + max((int(stem[-4:]) for stem in numbered), default=0)
        found = images_of(folder, ending, channels)
        if found.problems:
            raise joined(found.problems)
        images, problems, bad = found.images, found.case_problems, set(found.bad)
    else:
        images = {stem: (path,) for stem, path in zip(stems, listing.paths, strict=True)}
        problems, bad = case_name_problems(images, ending, folder)
        problems += listing.link_problems()
        bad |= {path.name.removesuffix(ending) for path in listing.broken_links}
    good = {name: paths for name, paths in images.items() if name not in bad and _confined(paths, folder, problems)}
    if not good:
        raise joined(problems)
    for problem in problems:
        say(f"left out: {problem}")
    return Source(folder, ending, reader_for(reader, ending, next(iter(good.values()))[0], folder), good)


def _ending_of(folder: Path) -> str:
    here = [ending for ending in ENDINGS
            if any(is_there(path, ending) for path in list_folder(folder, ending).paths)]
    if len(here) != 1:
        raise UserError("The folder must hold images of one format.", where=folder,
                        found=" and ".join(here) or "no image",
                        mend=f"Put images of one of the endings {', '.join(ENDINGS)} there.")
    return here[0]


def _confined(paths: tuple[Path, ...], folder: Path, problems: list[UserError]) -> bool:
    """Whether all `paths` are in `folder`; otherwise the error is added to `problems`."""
    try:
        for path in paths:
            require_inside(path, folder)
    except UserError as fault:
        problems.append(fault)
        return False
    return True
