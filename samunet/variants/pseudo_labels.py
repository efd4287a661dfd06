"""Labels that registration transports to unlabelled cases, where the training cases agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from samunet.array_files import read_array, write_array
from samunet.console import progress
from samunet.dataset.labels import UNANNOTATED, LabelSpace
from samunet.errors import UserError
from samunet.preprocessing.arrays import LazyCases, WrappedArrays
from samunet.preprocessing.case import PreparedCase
from samunet.variants.atlas import AtlasVariant
from samunet.variants.run_data import RunData

MOST_CASES = 40
AGREED = 0.7  # of the votes; what has less does not train


@dataclass(frozen=True)
class PseudoLabelledArrays(WrappedArrays):
    """Another store whose `cases` have the labels of `<labels>/<case>.npy`, int16 (1, Z, Y, X), not their own."""

    labels: Path
    cases: frozenset[str]

    def segmentation(self, name: str) -> np.ndarray | None:
        """See `Arrays`.

        Raises:
            UserError: the file is missing or damaged.
        """
        if name not in self.cases:
            return self.inner.segmentation(name)
        path = self.labels / f"{name}.npy"
        if (labels := read_array(path)) is None:
            raise UserError("Pseudo-labels must stay as they were written while a run lasts.", where=path,
                            found="missing or damaged",
                            mend="Run the command again; it rebuilds them.")
        return labels

    def load(self, name: str) -> PreparedCase:
        """See `Arrays`."""
        case = self.inner.load(name)
        return replace(case, segmentation=self.segmentation(name)) if name in self.cases else case


def with_pseudo_labels(run: RunData, folder: Path) -> tuple[RunData, tuple[str, ...]]:
    """The run with up to 40 of its unlabelled cases labelled by `atlas` from its training cases; and their names.

    Which of them follows from the run's seed. Whole files in `folder` are used again.
    """
    unlabelled = [name for name in run.unlabelled_cases if name not in run.train_cases]
    order = np.random.RandomState(run.seed).permutation(len(unlabelled))[:MOST_CASES]
    chosen = tuple(unlabelled[index] for index in sorted(order))
    atlas = AtlasVariant(run.context)
    atlas.fit(LazyCases(run.arrays, run.train_cases))
    for name in progress(chosen, "labelling", len(chosen)):
        path = folder / f"{name}.npy"
        if read_array(path) is None:
            write_array(path, agreed_labels(atlas, run.arrays.load(name)))
    arrays = PseudoLabelledArrays(run.arrays, folder, frozenset(chosen))
    return replace(run, arrays=arrays), chosen


def agreed_labels(atlas: AtlasVariant, case: PreparedCase) -> np.ndarray:
    """The labels that `atlas` predicts, int16 (1, Z, Y, X), UNANNOTATED where its supports do not agree."""
    logits, known = atlas.answer(case)
    labels = decided_labels(atlas.labels.activate(logits).numpy(), atlas.labels)
    return np.where(known, labels, np.int16(UNANNOTATED))[None]


def decided_labels(shares: np.ndarray, labels: LabelSpace) -> np.ndarray:
    """Int16 (Z, Y, X): the label with the most votes; UNANNOTATED where it is not decided.

    Decided means that it has at least AGREED of the votes; of regions each must have that, or at most 1 - AGREED.

    Arguments:
        shares: of the votes, float (K, Z, Y, X), a channel each.
    """
    decided = (np.maximum(shares, 1 - shares) >= AGREED).all(0) if labels.has_regions else shares.max(0) >= AGREED
    return np.where(decided, labels.decode(shares, threshold=0.5).astype(np.int16), np.int16(UNANNOTATED))
