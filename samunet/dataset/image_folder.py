"""A folder of images, CASE_0000.ending, CASE_0001.ending, ...: which of them belong to which case."""

from __future__ import annotations

import re
from pathlib import Path

from samunet.dataset.case_paths import paths_with
from samunet.errors import UserError, some

_CHANNEL_FILE = re.compile(r"(?P<name>.+)_(?P<channel>[0-9]{4})")


def images_of(
    folder: Path, file_ending: str, channels: int, problems: list[UserError]
) -> dict[str, tuple[Path, ...]]:
    """Case name -> its image files in channel order, for files (or folders) CASE_XXXX + `file_ending`.

    Arguments:
        channels: how many dataset.json names.
        problems: what is wrong is added to them: no such folder, no image in it, a missing or surplus channel, a file without
            channel number.
    """
    if not folder.is_dir():
        problems.append(UserError("The folder of images must exist.", where=folder, found="no such folder"))
        return {}
    numbered: dict[str, dict[int, Path]] = {}
    unnumbered = []
    for path in paths_with(folder, file_ending):
        match = _CHANNEL_FILE.fullmatch(path.name.removesuffix(file_ending))
        if match:
            numbered.setdefault(match["name"], {})[int(match["channel"])] = path
        else:
            unnumbered.append(path.name)
    if unnumbered:
        problems.append(UserError(
            f"Image files must be named CASE_XXXX{file_ending}, XXXX the channel number.", where=folder,
            found=some(unnumbered), mend=f"Rename them, for example to CASE_0000{file_ending}.",
        ))
    elif not numbered:
        others = some(sorted(path.name for path in folder.iterdir())) or "nothing"
        problems.append(UserError(f"The folder of images must hold files CASE_0000{file_ending}.", where=folder,
                                  found=others, mend="Put the images there, or correct `file_ending`."))
    images = {name: tuple(path for _, path in sorted(files.items())) for name, files in numbered.items()}
    # A file may hold all channels (4D, RGB); then every case has one file, and reading counts the channels.
    expected = 1 if numbered and all(list(files) == [0] for files in numbered.values()) else channels
    for name, files in sorted(numbered.items()):
        problems += _channel_problems(name, set(files), expected, folder, file_ending)
    return images


def _channel_problems(name: str, found: set[int], expected: int, folder: Path, file_ending: str) -> list[UserError]:
    problems = []
    if missing := sorted(set(range(expected)) - found):
        problems.append(UserError(
            "Every case must have a file for each channel.", where=folder,
            found=f"case {name} lacks " + ", ".join(f"{name}_{channel:04d}{file_ending}" for channel in missing),
            mend="Add the missing files, or take the case out.",
        ))
    if extra := sorted(found - set(range(expected))):
        problems.append(UserError(
            "A case must not have more channel files than dataset.json names channels.", where=folder,
            found=f"case {name} has " + ", ".join(f"{name}_{channel:04d}{file_ending}" for channel in extra),
            mend="Name the channels in `channel_names`, or remove the files.",
        ))
    return problems
