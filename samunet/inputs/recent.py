"""What was last computed of stored cases, in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from typing import Generic, TypeVar

import numpy as np

from samunet.preprocessing.arrays import Arrays

RECENT_BYTES = 10**9
T = TypeVar("T")


class Recent(ABC, Generic[T]):
    """Things computed of cases by name; those that were used last stay in memory, up to RECENT_BYTES."""

    def __init__(self) -> None:
        self._stored: OrderedDict[str, tuple[T, int]] = OrderedDict()

    @abstractmethod
    def make(self, name: str) -> tuple[T, int]:
        """What is stored of a case, and its bytes."""

    def get(self, name: str) -> T:
        """What is stored of a case, computed if it is not in memory."""
        if name not in self._stored:
            self._stored[name] = self.make(name)
        self._stored.move_to_end(name)
        while len(self._stored) > 1 and sum(size for _, size in self._stored.values()) > RECENT_BYTES:
            self._stored.popitem(last=False)
        return self._stored[name][0]


class RecentImages(Recent[np.ndarray]):
    """The normalised channels of stored cases and views, float32 (C, Z, Y, X)."""

    def __init__(self, arrays: Arrays) -> None:
        super().__init__()
        self.arrays = arrays

    def make(self, name: str) -> tuple[np.ndarray, int]:
        """See `Recent`."""
        image = self.arrays.load(name).image
        return image, image.nbytes
