"""What was made of stored cases last, kept in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Generic, TypeVar

import numpy as np

from samunet.preprocessing.arrays import Arrays

RECENT_BYTES = 10**9
T = TypeVar("T")


class Recent(ABC, Generic[T]):
    """Things made of cases by name; those that were asked for last stay in memory, up to RECENT_BYTES."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[T, int]] = OrderedDict()

    @abstractmethod
    def make(self, name: str) -> tuple[T, int]:
        """What is kept of a case, and its bytes."""

    def get(self, name: str) -> T:
        """What is kept of a case, made if it is not in memory."""
        if name not in self._kept:
            self._kept[name] = self.make(name)
        self._kept.move_to_end(name)
        while len(self._kept) > 1 and sum(size for _, size in self._kept.values()) > RECENT_BYTES:
            self._kept.popitem(last=False)
        return self._kept[name][0]


class RecentImages(Recent[np.ndarray]):
    """The normalised channels of stored cases and views, float32 (C, Z, Y, X)."""

    def __init__(self, arrays: Arrays) -> None:
        super().__init__()
        self.arrays = arrays

    def make(self, name: str) -> tuple[np.ndarray, int]:
        image = self.arrays.load(name).image
        return image, image.nbytes
