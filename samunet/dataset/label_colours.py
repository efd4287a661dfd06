"""The colour of each label, the same in overlays, on the annotation page, in DICOM SEG and in label files for viewers.

A viewer that opens a prediction shows numbers in colours of its own choice; the files here give it names and colours.
"""

from __future__ import annotations

from pathlib import Path

from samunet.dataset.labels import LabelSpace
from samunet.files import write_json, write_text

Rgb = tuple[int, int, int]  # 0 to 255, sRGB

# Okabe and Ito's palette (Color Universal Design, 2008) without black, brightest contrasts first: its colours stay
# distinct in all common forms of colour blindness. More than seven colours cannot; they are the same, half white.
_DISTINCT: tuple[Rgb, ...] = ((213, 94, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178),
                              (204, 121, 167), (230, 159, 0))
COLOURS: tuple[Rgb, ...] = _DISTINCT + tuple(((red + 255) // 2, (green + 255) // 2, (blue + 255) // 2)
                                             for red, green, blue in _DISTINCT)
JSON_NAME, ITK_SNAP_NAME = "label_colours.json", "label_colours.label"
_ITK_SNAP_HEAD = """\
# ITK-SNAP label description file
# number, red, green, blue, opacity, visible in slices, visible in 3D, name
    0     0    0    0        0  0  0    "Clear Label"
"""


def colour_of(value: int) -> Rgb:
    """The colour of the label value `value`, 1 or more; after 14 colours they repeat."""
    return COLOURS[(value - 1) % len(COLOURS)]


def names_of(labels: LabelSpace, value: int) -> str:
    """The name of a label value, or the names of all regions that contain it."""
    names = [name for name, held in labels.names.items()
             if name != "ignore" and (value in held if isinstance(held, tuple) else held == value)]
    return ", ".join(names) or str(value)


def write_label_colours(folder: Path, labels: LabelSpace) -> None:
    """Write names and colours of the label values above 0 beside segmentations.

    label_colours.json: `labels`, a list of `value`, `name` (of a region: all names, with commas) and `rgb`.
    label_colours.label: the same as ITK-SNAP's label description.

    Raises:
        UserError: the folder cannot be written.
    """
    values = [value for value in labels.values if value > 0]
    write_json(folder / JSON_NAME, {"labels": [
        {"value": value, "name": names_of(labels, value), "rgb": list(colour_of(value))} for value in values]})
    write_text(folder / ITK_SNAP_NAME, _ITK_SNAP_HEAD + "".join(_itk_snap_line(labels, value) for value in values))


def _itk_snap_line(labels: LabelSpace, value: int) -> str:
    red, green, blue = colour_of(value)
    name = " ".join(names_of(labels, value).replace('"', "'").split())  # a line and quotes of its own in the file
    return f'{value:5d} {red:5d} {green:4d} {blue:4d}        1  1  1    "{name}"\n'
