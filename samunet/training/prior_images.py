"""Training images with transported labels behind their channels, made once for a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from samunet.array_files import read_array, write_array
from samunet.dataset.labels import UNANNOTATED
from samunet.inputs.recent import Recent
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.store import ArrayStore
from samunet.preprocessing.views import case_and_view
from samunet.training.pseudo_labels import decided_labels
from samunet.variants.transport import TransportVariant

FOLDER = "priors"  # of a run, while it lasts


class PriorImages(Recent[np.ndarray]):
    """Float32 (C + F, Z, Y, X) of training cases and views; what is carried is kept as float16 files while the run lasts, (F + 1, Z, Y, X):
    the probabilities, and 1 where any other case knows a label.

    Arguments:
        variant: whose supports' labels are carried.
        train_cases: the run's, in the order of the supports, of which there may be fewer.
        folder: of the files.
    """

    def __init__(self, arrays: ArrayStore, variant: TransportVariant, train_cases: Sequence[str], folder: Path) -> None:
        super().__init__()
        self._arrays, self._variant, self._cases, self._folder = arrays, variant, list(train_cases), folder

    def possible(self, name: str) -> bool:
        """Whether labels can be carried to it that are not its own: not to the one case there is, but to its views."""
        return len(self._cases) > 1 or case_and_view(name)[1] is not None

    def completed(self, name: str, segmentation: np.ndarray) -> np.ndarray:
        """`segmentation` int16 (Z, Y, X) of a case or view that was made; what is UNANNOTATED there is told by the others, where they agree.

        Where none of them knows anything is background, as `atlas` takes it: mostly beyond the ends of a structure, since slices
        without foreground are not among the annotated ones. Without this no empty slice would be learned from, and never a place to which
        labels are carried.
        """
        unknown = segmentation == UNANNOTATED
        if not unknown.any():
            return segmentation
        labels, stored = self._variant.labels, self._carried(name, lambda: self._arrays.load(name)).astype(np.float32)
        shares, known = stored[:-1], stored[-1] > 0
        if not labels.has_regions:
            shares = np.concatenate([1 - shares.sum(0, keepdims=True), shares])
        told = np.where(known, decided_labels(shares, labels), np.int16(0))
        return np.where(unknown, told, segmentation)

    def make(self, name: str) -> tuple[np.ndarray, int]:
        case = self._arrays.load(name)
        image = np.concatenate([case.image, self._carried(name, lambda: case)[:-1].astype(np.float32)])
        return image, image.nbytes

    def _carried(self, name: str, case: Callable[[], PreparedCase]) -> np.ndarray:
        """What the file of a case or view holds, made where it is missing or damaged."""
        carried = read_array(self._path(name))
        if carried is None:
            without = self._cases.index(case_and_view(name)[0]) if len(self._cases) > 1 else None
            prior, known = self._variant.prior(case(), without)
            carried = np.concatenate([prior, known[None]]).astype(np.float16)
            write_array(self._path(name), carried)
        return carried

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npy"
