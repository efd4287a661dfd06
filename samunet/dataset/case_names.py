"""Which names cases and folders may have, so that every library, message and file system can hold them."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from samunet.errors import UserError, some

# File systems hold names of 255 bytes; ours add an ending, and a prefix while they are unfinished.
MOST_BYTES = 180
# A prediction <case>.tif has its spacing in <case>.json, and these .json files are in the same folder as predictions.
RESERVED = ("dataset", "plans", "predict_from_raw_data_args", "summary", "metrics", "label_colours",
            "postprocessing")
_TIFF = (".tif", ".tiff")


def case_name_problems(names: Iterable[str], file_ending: str, where: Path) -> tuple[list[UserError], set[str]]:
    """One error for each rule that names of cases with this file ending break; and the names that break one."""
    broken: dict[tuple[str, str], list[str]] = {}
    for name in names:
        if rule := _broken_rule(name, file_ending):
            broken.setdefault(rule, []).append(name)
    problems = [UserError(rule, where=where, found=some(found), mend=mend)
                for (rule, mend), found in broken.items()]
    return problems, {name for found in broken.values() for name in found}


def require_text(path: Path) -> None:
    """Refuse a path that is not UTF-8: ITK ends the process when it is given one.

    Raises:
        UserError: bytes that are not UTF-8.
    """
    if _holds(str(path), "Cs"):
        raise UserError("The path of a folder must be UTF-8.", where=ascii(str(path)), mend="Rename the folder.")


def _broken_rule(name: str, file_ending: str) -> tuple[str, str] | None:
    """The rule that a case's name breaks and the remedy, or None."""
    if not name or name.startswith(".") or "/" in name or os.sep in name:
        return "A case's name must be usable as a file name.", "Name it without slashes and without a leading dot."
    if _holds(name, "Cs", "Cc"):
        return "A case's name must be UTF-8 text without control characters.", "Rename its files."
    if len(name.encode()) > MOST_BYTES:
        return f"A case's name must have at most {MOST_BYTES} bytes.", "Shorten the names of its files."
    if file_ending.lower() in _TIFF and (name in RESERVED or name.endswith(".properties")):
        return ("A case of TIFF files must not have the name of a .json file that is written next to predictions.",
                f"Rename its files; {', '.join(RESERVED)} and names that end with .properties are taken.")
    return None


def _holds(text: str, *categories: str) -> bool:
    """Whether `text` has a letter of these Unicode categories: Cs (bytes that are not UTF-8), Cc (control)."""
    return not text.isprintable() and any(unicodedata.category(letter) in categories for letter in text)
