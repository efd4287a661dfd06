"""What evaluating a folder is expected to take: said before it starts where it takes long."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from samunet.dataset.io.header_voxels import header_voxels
from samunet.dataset.memory import free_bytes
from samunet.errors import UserError
from samunet.planning.expected_cost import WORKER_BYTES, Cost, announce

# Of a pair, for one class more or less: 15 classes of 9.8 million voxels took 0.9 s of one core (studies/speed.md), and
# reading two compressed files about as long.
VOXELS_A_SECOND = 5e6
# A reference and a prediction of two bytes, as they are read and with the values that count.
PAIR_BYTES = 8
LONG_SECONDS = 60.0


def workers_for(references: Sequence[Path], folder: Path, workers: int) -> int:
    """As many of `workers` processes as fit into memory, each with a pair of the largest size; says what is expected
    of more than a minute.

    Arguments:
        references: one file a case; its prediction is on the same grid. folder: where the results are written.

    Raises:
        UserError: not even the smallest pair fits into the free memory.
    """
    sizes = [header_voxels(path) for path in references]
    voxels = [count for count in sizes if count is not None]
    if len(voxels) < len(sizes):  # only reading them would tell
        return workers
    held, free = [count * PAIR_BYTES for count in voxels], free_bytes()
    if min(held) > free:
        raise UserError("The memory must have room for a pair of segmentations.", where=references[0].parent,
                        found=f"{min(held) / 1e9:.1f} GB are expected, for {free / 1e9:.1f} GB that are free",
                        mend="Close other programs, or crop the images.")
    largest = max(each for each in held if each <= free)
    fit = max(1, min(workers, len(held), free // (WORKER_BYTES + largest)))
    seconds = sum(voxels) / VOXELS_A_SECOND / fit
    if seconds > LONG_SECONDS:
        ram = fit * (WORKER_BYTES + largest) if fit > 1 else largest
        announce(f"evaluating {len(held)} cases", Cost(seconds, ram, 0), folder, "Close other programs.")
    return min(workers, fit)
