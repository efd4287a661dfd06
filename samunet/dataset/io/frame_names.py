"""The frames of a folder: which files they are, in which order, and whether two folders have the same ones."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from samunet.console import say_once
from samunet.dataset.folder_listing import COMPANIONS, broken_links
from samunet.errors import UserError, some

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def frame_paths(folder: Path) -> list[Path]:
    """The image files in `folder`, numbers in their names compared as numbers: frame 10 comes after frame 9.

    Hidden files and those of other endings are no frames.
    """
    paths = [path for path in folder.iterdir() if path.suffix.lower() in ENDINGS and not path.name.startswith(".")]
    return sorted(paths, key=lambda path: (_natural(path.stem), path.name))


def frame_names(folder: Path) -> tuple[str, ...]:
    """The frames' names without ending, in their order."""
    return tuple(path.stem for path in frame_paths(folder))


def say_passed_over_frames(folders: Iterable[Path]) -> None:
    """Report in one line the files in folders of frames that are no frames."""
    names = [f"{folder.name}/{path.name}" for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())
             if (path.suffix.lower() not in ENDINGS or path.name.startswith(".")) and path.suffix not in COMPANIONS]
    if names:
        say_once(f"Warning: ignored in folders of frames: {some(names)} (hidden, or not {', '.join(ENDINGS)})")


def listing_problems(folder: Path) -> list[UserError]:
    """Problems of a folder of frames, without opening any: missing, empty, duplicate names, broken links."""
    if not folder.is_dir():
        return [UserError("Every listed folder of frames must exist.", where=folder, found="no such folder",
                          mend="Restore it, or remove its case from the dataset.")]
    names = frame_names(folder)
    if not names:
        return [UserError("A folder of frames must hold image files.", where=folder,
                          found=f"no file that ends with {', '.join(ENDINGS)}", mend="Put the frames there.")]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        return [UserError("Every frame must have a name of its own; endings do not count.", where=folder,
                          found=some(twice),
                          mend="Keep one file for each frame.")]
    return broken_links(folder, [path.name for path in frame_paths(folder) if path.is_symlink() and not path.exists()])


def name_problems(found: Sequence[str], expected: Sequence[str], where: Path, of: str = "image") -> list[UserError]:
    """Whether the frames `found` in the folder `where` have the names `expected`, which are those of its `of`."""
    known, wanted = set(found), set(expected)
    missing, extra = [name for name in expected if name not in known], [name for name in found if name not in wanted]
    if not missing and not extra:
        return []
    parts = [f"{count} {some(names)}" for count, names in ((f"{len(missing)} of {len(expected)} are missing:", missing),
                                                           (f"{len(extra)} belong to none of them:", extra)) if names]
    return [UserError(f"There must be one frame for each frame of the {of}, with its name; endings do not count.",
                      where=where, found="; ".join(parts),
                      mend="Add or remove frames; a frame without annotation may hold only the ignore label.")]


def _natural(name: str) -> list[tuple[int, str]]:
    """Runs of digits by their value, the text between them in lower case."""
    parts = re.split(r"([0-9]+)", name)
    return [(int(part), "") if index % 2 else (0, part.casefold()) for index, part in enumerate(parts)]
