"""Check text headers of MetaImage and NRRD for what ITK ignores without a message: NaN, Inf and units."""

from __future__ import annotations

import re
from pathlib import Path

from samunet.errors import UserError

MOST_HEADER_BYTES = 1 << 16
# Keys in lower case whose numbers place the voxels.
PLACING = {
    ".mha": ("elementspacing", "elementsize", "offset", "position", "origin", "transformmatrix", "rotation",
             "orientation"),
    ".nrrd": ("spacings", "space directions", "space origin", "axis mins", "axis maxs"),
}
UNIT_KEYS = ("units", "space units")
MILLIMETRES = {"mm", "millimeter", "millimeters", "millimetre", "millimetres", ""}
NOT_FINITE = re.compile(r"(?<![a-z])[+-]?(nan|inf|infinity)(?![a-z])", re.IGNORECASE)


def check_text_header(path: Path) -> None:
    """Check the fields that place voxels; other formats and files without such a header pass.

    Raises:
        UserError: NaN or Inf, which ITK replaces by 0 or 1, or a unit other than mm, which ITK ignores.
    """
    placing = PLACING.get(path.suffix.lower(), ())
    for key, value in _fields(path) if placing else ():
        if key in placing and NOT_FINITE.search(value):
            raise UserError("The numbers that place an image or label file must be finite.", where=path,
                            found=f"{key}: {value}",
                            mend="Correct the header.")
        if (key in UNIT_KEYS
            and (others := [unit for unit in re.findall(r'"([^"]*)"', value) if unit.lower() not in MILLIMETRES])):
            raise UserError("An image or label file must be in millimetres.", where=path, found=f"{key}: {value}",
                            mend=f"Write spacing and origin in mm ({others[0]} is not converted), or convert the file "
                                 "to NIfTI.")


def _fields(path: Path) -> list[tuple[str, str]]:
    """The header's lines as (key in lower case, value)."""
    with open(path, "rb") as stream:
        text = stream.read(MOST_HEADER_BYTES)
    end = re.search(rb"\r?\n\r?\n|ElementDataFile", text)
    lines = text[: end.start() if end else len(text)].decode("latin-1").splitlines()
    fields = (re.split(r"\s*[:=]=?\s*", line, maxsplit=1) for line in lines if not line.startswith("#"))
    return [(parts[0].strip().lower(), parts[1].strip()) for parts in fields if len(parts) == 2]
