"""Preprocessed cases by name: what every store of them offers, and stores that change what another one holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, overload

import numpy as np

from samunet.dataset.labels import in_slices_alone
from samunet.errors import UserError
from samunet.preprocessing.case import CaseProperties, PreparedCase


class Arrays(Protocol):
    """Preprocessed cases, and perhaps views of them, by name: an `ArrayStore`, or what is wrapped around one."""

    def __contains__(self, name: str) -> bool: ...

    def properties(self, name: str) -> CaseProperties:
        """What is known of a case.

        Raises:
            UserError: there is no such case, or its JSON is damaged.
        """
        ...

    def image_slice(self, name: str, plane: int) -> np.ndarray:
        """One slice of a case's image, float32 (C, Y, X), without decoding the others."""
        ...

    def segmentation(self, name: str) -> np.ndarray | None:
        """Label values int16 (1, Z, Y, X), OUTSIDE the non-zero mask; None for an unlabelled case."""
        ...

    def load(self, name: str) -> PreparedCase:
        """Image, segmentation and properties."""
        ...


@dataclass(frozen=True)
class WrappedArrays:
    """Another store, as it is; a subclass changes what it holds.

    Arguments:
        inner: the other store.
    """

    inner: Arrays

    def __contains__(self, name: str) -> bool:
        return name in self.inner

    def properties(self, name: str) -> CaseProperties:
        """See `Arrays`."""
        return self.inner.properties(name)

    def image_slice(self, name: str, plane: int) -> np.ndarray:
        """See `Arrays`."""
        return self.inner.image_slice(name, plane)

    def segmentation(self, name: str) -> np.ndarray | None:
        """See `Arrays`."""
        return self.inner.segmentation(name)

    def load(self, name: str) -> PreparedCase:
        """See `Arrays`."""
        return self.inner.load(name)


@dataclass(frozen=True)
class AnnotatedArrays(WrappedArrays):
    """Another store in which some cases have labels on some of their slices alone; the others are UNANNOTATED.

    Arguments:
        annotated: case -> the slices whose labels are used. Cases that are not named keep all their labels.
    """

    annotated: Mapping[str, Sequence[int]]

    def segmentation(self, name: str) -> np.ndarray | None:
        """See `Arrays`."""
        segmentation = self.inner.segmentation(name)
        if segmentation is None or name not in self.annotated:
            return segmentation
        return in_slices_alone(segmentation, self.annotated[name])

    def load(self, name: str) -> PreparedCase:
        """See `Arrays`."""
        case = self.inner.load(name)
        if case.segmentation is None or name not in self.annotated:
            return case
        return replace(case, segmentation=in_slices_alone(case.segmentation, self.annotated[name]))


class LazyCases(Sequence[PreparedCase]):
    """Prepared cases that are read when they are used, so that a large dataset needs no large memory.

    Arguments:
        arrays: holds the cases. names: of the cases, in order.
    """

    def __init__(self, arrays: Arrays, names: Sequence[str]) -> None:
        self.arrays, self.names = arrays, names

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> PreparedCase: ...

    @overload
    def __getitem__(self, index: slice) -> LazyCases: ...

    def __getitem__(self, index: int | slice) -> PreparedCase | LazyCases:
        if isinstance(index, slice):
            return LazyCases(self.arrays, self.names[index])
        return self.arrays.load(self.names[index])


def labels_of(arrays: Arrays, name: str) -> np.ndarray:
    """A labelled case's label values, int16 (Z, Y, X), on the plan's grid.

    Raises:
        UserError: it has none.
    """
    segmentation = arrays.segmentation(name)
    if segmentation is None:
        raise UserError("A case to learn from must have a label.", where=name, found="preprocessed without one",
                        mend="Run samunet_preprocess again.")
    return segmentation[0]
