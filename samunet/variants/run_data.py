"""What a variant may read of the run that trains it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from samunet.files import make_folder
from samunet.inputs.embedding_cache import embeddings_of
from samunet.inputs.embeddings import RecentInputs
from samunet.inputs.image_crops import StoredCaseImageCrops
from samunet.inputs.protocols import CaseInputs
from samunet.inputs.sampling import FOREGROUND_SHARE, LabelSlices, Sampler
from samunet.planning.plans import Plans
from samunet.preprocessing.arrays import Arrays, labels_of
from samunet.preprocessing.view_names import View, view_name
from samunet.preprocessing.views import clean_images, views_for
from samunet.variants.base import VariantContext

PRIORS, PSEUDO_LABELS = "priors", "pseudo_labels"
SCRATCH = (PRIORS, PSEUDO_LABELS)
"""Folders of a run that are removed when it ends."""


@dataclass(frozen=True)
class RunData:
    """The cases of a run and what follows from them.

    Arguments:
        arrays: of the cases; without the labels that the run must not use.
        train_cases: whose labels are learned from. unlabelled_cases: whose images alone may be.
        support: case -> slices that prompt; None: chosen automatically.
        work: the run's folder.
        cache: folder of the encoder's cached embeddings.
        record: content of run.json; `seconds` is in it.
    """

    context: VariantContext
    plans: Plans
    arrays: Arrays
    train_cases: tuple[str, ...]
    unlabelled_cases: tuple[str, ...]
    support: Mapping[str, tuple[int, ...]] | None
    batch_size: int
    seed: int
    device: torch.device
    work: Path
    cache: Path
    record: dict[str, Any]

    def segmentation(self, name: str) -> np.ndarray:
        """A labelled case's label values as the run may use them, int16 (Z, Y, X), on the plan's grid."""
        return labels_of(self.arrays, name)

    def planned_views(self) -> int:
        """How many augmented views each training case gets: what the cases' sizes and the plan's budget allow."""
        section = self.context.encoder_plan
        images = sum(clean_images(self.arrays.properties(name), self.plans.dataset, section)
                     for name in self.train_cases)
        return views_for(images, section.view_pictures)

    def cases_and_views(self, views: int | None = None) -> list[str]:
        """The training cases, and behind them the views of each.

        How many is recorded, and planned unless it is given.
        """
        self.record["views"] = self.planned_views() if views is None else views
        numbers = range(1, self.record["views"] + 1)
        return [*self.train_cases, *(view_name(case, View(number)) for case in self.train_cases for number in numbers)]

    def embeddings(self, names: Sequence[str]) -> dict[str, CaseInputs]:
        """The embeddings of cases and views by name; what is not cached or out of date is encoded first."""
        encoder = self.context.encoder
        assert encoder is not None
        with self.timed("embeddings"):
            return embeddings_of(names, self.arrays, self.plans, encoder, self.cache)

    def image_crops(self, names: Sequence[str]) -> dict[str, CaseInputs]:
        """The encoder's images of cases and views by name, which are cut whenever they are read."""
        assert self.context.encoder is not None
        inputs = RecentInputs(self.arrays, self.plans, self.context.encoder)
        return {name: StoredCaseImageCrops(name, inputs) for name in names}

    def label_slices(
        self, inputs: Mapping[str, CaseInputs], segmentation: Callable[[str], np.ndarray] | None = None
    ) -> list[LabelSlices]:
        """The labels of each of `inputs`, on its tiles; those of the run, unless others are given."""
        read = segmentation or self.segmentation
        return [LabelSlices.build(read(name), source.frame, self.context.labels) for name, source in inputs.items()]

    def sampler(self, slices: Sequence[LabelSlices], foreground_share: float = FOREGROUND_SHARE) -> Sampler:
        """What picks among the cases of these labels, keyed by the run's seed."""
        return Sampler(slices, self.context.labels, self.batch_size, self.seed, foreground_share)

    def scratch(self, name: str) -> Path:
        """A folder of SCRATCH, for files that last as long as the run."""
        return make_folder(self.work / name)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the seconds that the block takes to the record's."""
        started, seconds = time.perf_counter(), self.record["seconds"]
        yield
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - started
