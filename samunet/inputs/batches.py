"""What an iteration reads: inputs and label values of the samples that a sampler picks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from torch import Tensor

from samunet.inputs.protocols import Inputs

Key = list[int]
"""(seed, iteration, number of the sample): what keys the random choices of one sample."""


class OfCase(Protocol):
    """A pick: whatever else it says, the index of its case."""

    @property
    def case(self) -> int:
        """The index."""
        ...


P = TypeVar("P", bound=OfCase)
P_co = TypeVar("P_co", bound=OfCase, covariant=True)
P_contra = TypeVar("P_contra", bound=OfCase, contravariant=True)


class Picks(Protocol[P_co]):
    """Picks the samples of each iteration; `seed` keys all random choices."""

    seed: int

    def picks(self, iteration: int) -> Sequence[P_co]:
        """The picks of `iteration`, whatever was picked before."""
        ...


class Samples(Protocol[P_contra]):
    """The samples of one kind: how they are read, augmented and collated."""

    def read(self, picks: Sequence[P_contra], keys: Sequence[Key]) -> tuple[Inputs, Tensor]:
        """Inputs of B samples and label values int64 (B, rows, columns), or (B, N, rows, columns), on the CPU."""
        ...


@dataclass(frozen=True)
class Batch:
    """Inputs of B samples, label values int64 (B, rows, columns) or (B, N, rows, columns), and the cases' names."""

    iteration: int
    names: Sequence[str]
    inputs: Inputs
    segmentation: Tensor


class Batches(Generic[P]):
    """The batch of any iteration, whatever was read before. From iteration `settled` on all are of one kind.

    Arguments:
        names: of the cases, as `sampler` numbers them.
        sampler: picks the samples.
        samples: reads them.
    """

    settled = 0

    def __init__(self, names: Sequence[str], sampler: Picks[P], samples: Samples[P]) -> None:
        self._names, self._sampler, self._samples = names, sampler, samples
        self.seed = sampler.seed

    def read(self, iteration: int) -> Batch:
        """The batch of `iteration`, on the CPU."""
        picks = self._sampler.picks(iteration)
        keys = [[self.seed, iteration, sample] for sample in range(len(picks))]
        inputs, segmentation = self._samples.read(picks, keys)
        return Batch(iteration, [self._names[pick.case] for pick in picks], inputs, segmentation)
