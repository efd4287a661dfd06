"""How the charts' methods look: colours that colour-blind readers distinguish, and shapes that differ as well."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

# Okabe and Ito, Color Universal Design (2008), without yellow, which is too light on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":")


class Mark(NamedTuple):
    """A method's colour, marker and line style, as matplotlib names them."""

    colour: str
    shape: str
    dash: str


def marks(names: Iterable[str]) -> dict[str, Mark]:
    """A mark for each distinct name, in order: all different up to 56 names, neighbours in each part."""
    return {name: Mark(COLOURS[index % len(COLOURS)], SHAPES[index % len(SHAPES)], DASHES[index % len(DASHES)])
            for index, name in enumerate(dict.fromkeys(names))}
