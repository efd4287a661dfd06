"""The folders of raw data, preprocessed data and results, and the folder that a dataset's number or name means."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from samunet.console import say
from samunet.dataset.case_names import require_text
from samunet.errors import UserError, some

DEFAULT_FOLDER = "samunet_data"
_FOLDER_NAME = re.compile(r"Dataset([0-9]{3,})_.+")
_OLD_FOLDER_NAME = re.compile(r"Task[0-9]{3,}_.+")  # nnU-Net v1's
_said: set[str] = set()


@dataclass(frozen=True)
class Paths:
    """The three roots, absolute; each holds one folder DatasetXXX_Name per dataset. They need not exist.

    `votes` is the vote cache: labels carried between registered pairs of cases, shared by runs; None: no cache.
    """

    raw: Path
    preprocessed: Path
    results: Path
    votes: Path | None = None


def resolve_paths(
    raw: str | Path | None = None, preprocessed: str | Path | None = None, results: str | Path | None = None
) -> Paths:
    """The roots by flag (the arguments), else by environment variable, else under ./samunet_data.

    The variables are samunet_raw (then nnUNet_raw), samunet_preprocessed and samunet_results. Quotes and blanks around
    a value, which Windows shells leave, are removed. A default is reported once.
    """
    return Paths(
        _root("raw", raw, ("samunet_raw", "nnUNet_raw")),
        _root("preprocessed", preprocessed, ("samunet_preprocessed",)),
        _root("results", results, ("samunet_results",)),
    )


def find_dataset(root: Path, dataset: str) -> Path:
    """The folder in `root` for a dataset given by number ("4", "004") or by full name ("Dataset004_Hippocampus").

    Raises:
        UserError: no such dataset, or two folders with this number; both messages list the datasets.
    """
    known = {folder.name: folder for folder in _folders(Path(root), _FOLDER_NAME)}
    if dataset in known:
        return known[dataset]
    if not re.fullmatch("[0-9]{1,18}", dataset):
        raise _unknown("A dataset must be given by its number or by the full name of its folder (DatasetXXX_Name).",
                       root, f"'{dataset}'", known)
    number = int(dataset)
    matching = sorted(name for name in known if int(_FOLDER_NAME.fullmatch(name)[1]) == number)  # type: ignore[index]
    if not matching:
        raise _unknown("The dataset's number must be that of a folder DatasetXXX_Name.", root,
                       f"no Dataset{number:03d}_*", known)
    if len(matching) > 1:
        raise UserError(
            "A dataset's number must belong to one folder only.",
            where=root,
            found=f"{number} is the number of {' and '.join(matching)}",
            mend="Give the full name, or rename one of the folders.",
        )
    return known[matching[0]]


def _unknown(rule: str, root: Path, found: str, known: Iterable[str]) -> UserError:
    """The error for a dataset that is not in `root`; explains how to convert a folder of nnU-Net v1."""
    listing = f"{found}; available: {', '.join(sorted(known)) or 'no dataset'}"
    mend = ("Use one of these, or name the folder that holds the dataset: --raw, --preprocessed or --results, or the "
            "variable samunet_raw, samunet_preprocessed or samunet_results.")
    if old := sorted(folder.name for folder in _folders(Path(root), _OLD_FOLDER_NAME)):
        listing += f"; folders of nnU-Net v1, which are not read: {some(old)}"
        mend += (f" To convert a folder of nnU-Net v1: samunet_convert_old_nnUNet_dataset {Path(root) / old[0]} "
                 f"{old[0].replace('Task', 'Dataset', 1)}.")
    return UserError(rule, where=root, found=listing, mend=mend)


def _root(kind: str, flag: str | Path | None, variables: tuple[str, ...]) -> Path:
    for value in (flag, *(os.environ.get(variable) for variable in variables)):
        text = _unquoted(str(value)) if value is not None else ""
        if text:
            folder = Path(text).expanduser().absolute()
            require_text(folder)
            return folder
    folder = (Path.cwd() / DEFAULT_FOLDER / kind).absolute()
    if kind not in _said:
        _said.add(kind)
        say(f"{variables[0]} is not set; using {folder}")
    return folder


def _unquoted(text: str) -> str:
    return text.strip().strip("\"'").strip()


def _folders(root: Path, pattern: re.Pattern[str]) -> list[Path]:
    if not root.is_dir():
        return []
    return [folder for folder in root.iterdir() if pattern.fullmatch(folder.name) and folder.is_dir()]
