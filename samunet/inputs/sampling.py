"""Which slices and tiles a batch holds, keyed by (seed, iteration, sample); a third of them show foreground."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from samunet.dataset.labels import OUTSIDE, UNANNOTATED, LabelSpace
from samunet.planning.tiles import TileFrame

FOREGROUND_SHARE = 0.33
T = TypeVar("T")


@dataclass(frozen=True)
class LabelSlices:
    """One case's labels, ready to be sampled. Slices are stored compressed: label maps shrink a hundredfold.

    Arguments:
        frame: the case's tiles.
        packed: one zlib stream of int16 (Y, X) per slice.
        presence: bool (F, Z, T), whether foreground class f (in `labels.foreground`'s order) has a voxel in a tile.
        annotated: bool (Z, T), whether a tile has a voxel inside the image's non-zero part whose label counts.
        partly: whether the case has unannotated voxels.
    """

    frame: TileFrame
    packed: tuple[bytes, ...]
    presence: np.ndarray
    annotated: np.ndarray
    partly: bool = False

    @classmethod
    def build(cls, segmentation: np.ndarray, frame: TileFrame, labels: LabelSpace) -> LabelSlices:
        """From `segmentation` int16 (Z, Y, X), OUTSIDE the non-zero mask, UNANNOTATED where labels are not used."""
        tiles = range(len(frame.starts))

        def in_tiles(mask: np.ndarray) -> np.ndarray:
            return np.stack([frame.cut(mask, tile, False).any(axis=(1, 2)) for tile in tiles], axis=1)

        presence = np.stack([in_tiles(labels.mask(segmentation, label)) for label in labels.foreground])
        annotated = in_tiles((segmentation >= 0) & labels.valid(segmentation))
        packed = tuple(zlib.compress(np.ascontiguousarray(plane, np.int16).tobytes(), 1) for plane in segmentation)
        return cls(frame, packed, presence, annotated, bool((segmentation == UNANNOTATED).any()))

    def tile(self, plane: int, tile: int) -> np.ndarray:
        """Label values int16 (rows, columns) of one tile, -1 outside the image."""
        return self.frame.cut(self.plane(plane), tile, OUTSIDE)

    def plane(self, plane: int) -> np.ndarray:
        """Label values int16 (Y, X) of one slice."""
        return np.frombuffer(zlib.decompress(self.packed[plane]), np.int16).reshape(self.frame.shape)


@dataclass(frozen=True)
class Pick:
    """One sample: index of the case in the sampler's list, slice, tile.

    The foreground class that it was picked for.
    """

    case: int
    plane: int
    tile: int
    label: int | None = None


class Sampler:
    """Picks the samples of each batch.

    The last `foreground_share` of a batch (at least one sample; a third by nnU-Net's rule) is picked from the
    foreground: a class that occurs in the cases, a (case, slice) that holds it, a tile that holds it, each uniform. The
    others are a case, a slice, a tile, each uniform. With an ignore label, or where any case is annotated in part,
    slices and tiles without an annotated voxel are left out where others exist.
    """

    def __init__(
        self, cases: Sequence[LabelSlices], labels: LabelSpace, batch_size: int, seed: int,
        foreground_share: float = FOREGROUND_SHARE,
    ) -> None:
        self.cases, self.labels, self.batch_size, self.seed = cases, labels, batch_size, seed
        self.from_foreground = max(1, batch_size - round(batch_size * (1 - foreground_share)))
        # (case, slice) pairs of each class that occurs at all
        pairs = [[(index, int(plane)) for index, case in enumerate(cases)
                  for plane in np.flatnonzero(case.presence[label].any(axis=1))]
                 for label in range(len(labels.foreground))]
        self._pairs = {label: found for label, found in enumerate(pairs) if found}
        partly = labels.ignore is not None or any(case.partly for case in cases)
        self._allowed = [case.annotated if partly else np.ones_like(case.annotated) for case in cases]
        if not any(allowed.any() for allowed in self._allowed):
            self._allowed = [np.ones_like(allowed) for allowed in self._allowed]
        self._usable = [index for index, allowed in enumerate(self._allowed) if allowed.any()]

    def picks(self, iteration: int) -> list[Pick]:
        """The batch of `iteration`, whatever was picked before."""
        first_foreground = self.batch_size - self.from_foreground
        return [self._pick(np.random.default_rng([self.seed, iteration, sample]), sample >= first_foreground)
                for sample in range(self.batch_size)]

    def _pick(self, random: np.random.Generator, foreground: bool) -> Pick:
        if foreground and self._pairs:
            label = _one_of(random, list(self._pairs))
            case, plane = _one_of(random, self._pairs[label])
            return Pick(case, plane, _any_of(random, self.cases[case].presence[label, plane]), label)
        case = _one_of(random, self._usable)
        plane = _any_of(random, self._allowed[case].any(axis=1))
        return Pick(case, plane, _any_of(random, self._allowed[case][plane]))


class SpreadSampler:
    """The picks of a sampler's batches, one after the other, in batches of another size.

    So batches of one sample have the share of foreground that larger ones have; alone, each would be of foreground.

    Arguments:
        sampler: of the larger batches. batch_size: samples of a batch here.
    """

    def __init__(self, sampler: Sampler, batch_size: int) -> None:
        self._sampler, self._batch_size, self.seed = sampler, batch_size, sampler.seed

    def picks(self, iteration: int) -> list[Pick]:
        """The batch of `iteration`, whatever was picked before."""
        numbers = range(iteration * self._batch_size, (iteration + 1) * self._batch_size)
        return [self._sampler.picks(number // self._sampler.batch_size)[number % self._sampler.batch_size]
                for number in numbers]


def first_slice(plane: int, depth: int, slices: int, random: np.random.Generator) -> int:
    """First of `depth` neighbouring slices that hold `plane`, at random, of a case of `slices`.

    Negative where the case is shorter.
    """
    if slices <= depth:
        return -((depth - slices) // 2)
    return int(np.clip(plane - random.integers(depth), 0, slices - depth))


def _one_of(random: np.random.Generator, items: Sequence[T]) -> T:
    return items[int(random.integers(len(items)))]


def _any_of(random: np.random.Generator, present: ArrayLike) -> int:
    """The index of one of the true entries of `present` (N,)."""
    return int(random.choice(np.flatnonzero(present)))
