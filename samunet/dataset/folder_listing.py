"""What a folder of images or segmentations holds: files to read, broken links, and files that are ignored."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from samunet.console import say_once
from samunet.dataset.case_names import require_text
from samunet.dataset.case_paths import FRAME_FOLDER
from samunet.errors import UserError, some
from samunet.temporaries import REPLACED_PREFIX, TEMPORARY_PREFIX

# Common image endings. A file with one of them that is not read is usually a mistake.
IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".gipl", ".hdr", ".img", ".dcm", ".png", ".bmp", ".jpg",
                 ".jpeg", ".tif", ".tiff", ".mp4", ".avi")
A_FOLDER = "a folder"  # why one is passed over
MOST_LINKS = 20  # named in one message
# Files next to images and segmentations that are no cases: spacings of 3D TIFFs, plans, scores, probabilities,
# label descriptions.
COMPANIONS = (".json", ".npz", ".pkl", ".lock", ".label")
SEGMENTATION_OBJECT = ".dcm"  # the DICOM SEG of a prediction, beside its file of volumes
GET_LINKED = ("Fetch the files (`datalad get` or `git annex get` where this is such a dataset), correct the links, or "
              "remove their cases.")


@dataclass(frozen=True)
class Listing:
    """One folder, listed once.

    Arguments:
        paths: files with the ending, or folders where it is "/", sorted; links to nothing among them.
        broken_links: those of `paths` that are links to nothing.
        passed_over: why entries are not read -> their names, sorted. Temporary files of samunet are not in it, nor are
            files that accompany images (COMPANIONS).
    """

    folder: Path
    paths: tuple[Path, ...]
    broken_links: tuple[Path, ...]
    passed_over: Mapping[str, tuple[str, ...]]

    def without(self, names: Collection[str]) -> Listing:
        """This listing, where the entries `names` are read by other means and so are not passed over."""
        others = {why: tuple(name for name in held if name not in names) for why, held in self.passed_over.items()}
        return replace(self, passed_over={why: held for why, held in others.items() if held})

    def say_passed_over(self) -> None:
        """Name in one line what is not read, once in a process."""
        if self.passed_over:
            listing = "; ".join(f"{some(names)} ({why})" for why, names in self.passed_over.items())
            say_once(f"Warning: ignored in {self.folder}: {listing}")

    def link_problems(self) -> list[UserError]:
        """One error that names all links to nothing."""
        return broken_links(self.folder, [path.name for path in self.broken_links])


def list_folder(folder: Path, ending: str) -> Listing:
    """List what `folder` holds for `ending`, which is compared exactly, case included; entries are read in one pass.

    Raises:
        UserError: a folder that cannot be read, or whose path is no text.
    """
    require_text(folder)
    try:
        with os.scandir(folder) as entries:
            kinds = {entry.name: _kind(entry) for entry in entries
                     if not entry.name.startswith((TEMPORARY_PREFIX, REPLACED_PREFIX))}
    except OSError as fault:
        raise UserError("A folder of images or segmentations must exist and be readable.", where=folder,
                        found=fault.strerror or str(fault),
                        mend="Correct the path, or make the folder readable.") from fault
    names, passed_over = [], {}
    for name in sorted(kinds):
        if reason := _reason(name, kinds[name], ending):
            if not (kinds[name] == "file" and name.endswith(COMPANIONS)):
                passed_over[name] = reason
        else:
            names.append(name)
    read = {name.removesuffix(ending) for name in names} if passed_over else set()
    for name in [name for name in passed_over if name.endswith(SEGMENTATION_OBJECT) and _stem(name) in read]:
        del passed_over[name]
    for name in passed_over:
        if not name.startswith(".") and _stem(name) != name and _stem(name) in read:
            passed_over[name] = f"also there as {ending}"
    return Listing(folder, tuple(folder / name for name in names),
                   tuple(folder / name for name in names if kinds[name] == "link"), _by_reason(passed_over))


def broken_links(folder: Path, names: list[str]) -> list[UserError]:
    """The error for links `names` in `folder` that lead nowhere; none without names."""
    if not names:
        return []
    return [UserError("Every image or label file must exist; a link must lead to one.", where=folder,
                      found=f"{len(names)} link{'s' if len(names) > 1 else ''} to nothing: {some(names, MOST_LINKS)}",
                      mend=GET_LINKED)]


def _kind(entry: os.DirEntry[str]) -> str:
    """file, folder, link (to nothing) or other (a pipe or a device, which reading would wait for)."""
    if not entry.is_symlink():
        return "folder" if entry.is_dir() else "file" if entry.is_file() else "other"
    if os.path.isdir(entry.path):
        return "folder"
    return "file" if os.path.isfile(entry.path) else "other" if os.path.exists(entry.path) else "link"


def _reason(name: str, kind: str, ending: str) -> str | None:
    """Why an entry is not read, or None."""
    if name.startswith("."):
        return "hidden"
    if ending == FRAME_FOLDER:
        return None if kind in ("folder", "link") else "no folder of frames"
    if kind == "folder":
        return A_FOLDER
    if not name.endswith(ending):
        return f"an image, but not {ending}" if name.lower().endswith(IMAGE_ENDINGS) else f"not {ending}"
    return "no file" if kind == "other" else None


def _stem(name: str) -> str:
    """The name without its image ending."""
    ending = next((ending for ending in IMAGE_ENDINGS if name.lower().endswith(ending)), "")
    return name[: len(name) - len(ending)]


def _by_reason(reasons: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return {reason: tuple(each) for reason, each in names.items()}
