"""What an export holds at least, and the bands of rows by which a slice fits into the memory that is free."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from samunet.dataset.labels import LabelSpace
from samunet.dataset.memory import free_bytes
from samunet.errors import UserError
from samunet.preprocessing.case import CaseProperties

Item = TypeVar("Item")

# Arrays of the logits of a band that exist at once: two cached slices, their copies, what interpolation takes from
# both neighbours, and what decoding makes of the result.
BAND_COPIES = 8
# Slices of the plan's grid: two cached ones, and that of the slab that is being read.
PLAN_PLANES = 3
LABEL_COPIES = 2  # the label map, and its writer's
FLOAT = 4  # bytes
# Of what is left beside the label map, what a band may take; the rest is for the network.
BAND_SHARE = 0.25


@dataclass(frozen=True)
class Needs:
    """Bytes: `always` whatever the bands are, and `row` for each row of a slice that is exported at once."""

    always: int
    row: int

    @classmethod
    def of(cls, properties: CaseProperties, labels: LabelSpace, with_probabilities: bool) -> Needs:
        """Those of a case: label map, probabilities if they are returned, and slices on the plan's grid."""
        voxels = math.prod(properties.shape_before_cropping)
        always = voxels * labels.dtype.itemsize * LABEL_COPIES
        always += PLAN_PLANES * labels.channels * math.prod(properties.shape[1:]) * FLOAT
        if with_probabilities:
            always += voxels * labels.channels * FLOAT
        return cls(always, BAND_COPIES * labels.channels * properties.shape_after_cropping[2] * FLOAT)


def bands_of(needs: Needs, rows: int, case: str) -> list[slice]:
    """Bands that together are `rows` rows: one where memory allows it, else as few as fit into it.

    Raises:
        UserError: not even one row fits.
    """
    free = free_bytes()
    left = free - needs.always
    if left < needs.row:
        raise UserError(
            "A case's segmentation must fit into memory.", where=f"case {case}",
            found=f"{(needs.always + needs.row) / 1e9:.2f} GB are needed at least, for {free / 1e9:.2f} GB that are "
                  "free",
            mend="Give more with --max_ram, close other programs, predict without --save_probabilities, or crop the "
                 "image.")
    size = max(1, min(rows, int(BAND_SHARE * left) // needs.row))
    return [slice(first, min(first + size, rows)) for first in range(0, rows, size)]


def memory_errors(items: Iterable[Item]) -> Iterator[Item]:
    """The items, where torch's error for memory that the system refuses is a MemoryError, as numpy's is.

    Ended early, it leaves `items` open: whoever gave them may take the rest.
    """
    try:
        for item in items:  # noqa: UP028 - `yield from` would close them
            yield item
    except RuntimeError as fault:
        if "can't allocate memory" not in str(fault):
            raise
        raise MemoryError(str(fault).splitlines()[0]) from fault
