"""Training images with transported labels behind their channels, computed once for a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samunet.array_files import read_array, write_array
from samunet.dataset.labels import UNANNOTATED
from samunet.inputs.recent import Recent
from samunet.preprocessing.arrays import Arrays
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.view_names import case_and_view
from samunet.variants.pseudo_labels import decided_labels

if TYPE_CHECKING:
    from samunet.variants.hybrid import HybridVariant


class PriorImages(Recent[np.ndarray]):
    """Float32 (C + F, Z, Y, X) of training cases and views.

    What is transported is stored while the run lasts, float16 (F + 1, Z, Y, X):
    the probabilities, and 1 where any other case knows a label.

    Arguments:
        variant: whose supports' labels are transported.
        train_cases: the run's, in the order of the supports, of which there may be fewer.
        folder: of the files.
    """

    def __init__(self, arrays: Arrays, variant: HybridVariant, train_cases: Sequence[str], folder: Path) -> None:
        super().__init__()
        self._arrays, self._variant, self._cases, self._folder = arrays, variant, list(train_cases), folder

    def possible(self, name: str) -> bool:
        """Whether other labels than its own can be transported to it: not to the only case, but to its views."""
        return len(self._cases) > 1 or case_and_view(name)[1] is not None

    def completed(self, name: str, segmentation: np.ndarray) -> np.ndarray:
        """`segmentation` int16 (Z, Y, X) of a case or view.

        What is UNANNOTATED there is filled by the other cases, where they agree.

        Where none of them knows a label is background, as `atlas` takes it: mostly beyond the ends of a structure,
        since slices without foreground are not among the annotated ones. Without this no empty slice would be learned
        from, and never a place to which labels are transported.
        """
        unknown = segmentation == UNANNOTATED
        if not unknown.any():
            return segmentation
        labels = self._variant.labels
        stored = self._transported(name, lambda: self._arrays.load(name)).astype(np.float32)
        shares, known = stored[:-1], stored[-1] > 0
        if not labels.has_regions:
            shares = np.concatenate([1 - shares.sum(0, keepdims=True), shares])
        filled = np.where(known, decided_labels(shares, labels), np.int16(0))
        return np.where(unknown, filled, segmentation)

    def make(self, name: str) -> tuple[np.ndarray, int]:
        """See `Recent`."""
        case = self._arrays.load(name)
        image = np.concatenate([case.image, self._transported(name, lambda: case)[:-1].astype(np.float32)])
        return image, image.nbytes

    def _transported(self, name: str, case: Callable[[], PreparedCase]) -> np.ndarray:
        """What the file of a case or view holds; computed where it is missing or damaged."""
        transported = read_array(self._path(name))
        if transported is None:
            without = self._cases.index(case_and_view(name)[0]) if len(self._cases) > 1 else None
            prior, known = self._variant.prior(case(), without)
            transported = np.concatenate([prior, known[None]]).astype(np.float16)
            write_array(self._path(name), transported)
        return transported

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npy"
