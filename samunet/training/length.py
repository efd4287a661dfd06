"""How many iterations a given time holds, and how large a batch leaves enough of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from samunet.inputs.batches import Batches
from samunet.processes import is_distributed
from samunet.training.trainer import seconds_per_iteration
from samunet.variants.base import TrainedVariant

# Of a variant whose batch may shrink: as many as nnU-Net's epoch has, and 2.5 times what the momentum of its optimiser,
# 0.99, remembers. Below that the rate falls to 0 before the weights have gone anywhere.
LEAST_ITERATIONS = 250


@dataclass(frozen=True)
class Length:
    """Iterations of a batch that fit the time; `reason` says why it is smaller than planned, None where it is not."""

    iterations: int
    batch_size: int
    batches: Batches[Any]
    reason: str | None = None


def fitted_length(
    variant: TrainedVariant, minutes: float, planned: int, batches_of: Callable[[int], Batches[Any]],
    device: torch.device,
) -> Length:
    """What fits into `minutes`, from the time that a few iterations take: at least 1.

    Where that is less than LEAST_ITERATIONS, a variant with a `smallest_batch` gets as many samples as leave so many,
    and the time is measured again. In several processes the batch stays.

    Arguments:
        planned: samples of a batch.
        batches_of: the run's batches of so many samples.
    """
    batches = batches_of(planned)
    seconds = seconds_per_iteration(variant, batches, device)
    size = planned if is_distributed() else smaller_batch(planned, variant.smallest_batch, seconds, minutes)
    if size == planned:
        return Length(iterations_in(minutes, seconds), planned, batches)
    reason = (f"{planned} samples, as planned, take {seconds:.3g} s here, and {minutes:g} minutes would be "
              f"{iterations_in(minutes, seconds)} iterations; "
              f"{size} should leave {LEAST_ITERATIONS}, or are the fewest")
    batches = batches_of(size)
    return Length(iterations_in(minutes, seconds_per_iteration(variant, batches, device)), size, batches, reason)


def smaller_batch(planned: int, smallest: int | None, seconds: float, minutes: float) -> int:
    """Samples of which LEAST_ITERATIONS fit, `seconds` being those of one of `planned` and time in proportion.

    At least `smallest`, where it is None all that are planned.
    """
    if smallest is None:
        return planned
    return max(min(int(planned * minutes * 60 / (LEAST_ITERATIONS * seconds)), planned), min(smallest, planned))


def iterations_in(minutes: float, seconds: float) -> int:
    """Iterations of `seconds` that fit, at least 1."""
    return max(1, int(minutes * 60 / seconds))
