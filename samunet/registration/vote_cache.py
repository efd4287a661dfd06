"""Votes of registered pairs, kept on the disk for other runs that register the same pairs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samunet.array_files import read_array, write_array

MOST_BYTES = 4_000_000_000
_lock = threading.Lock()  # supports are registered side by side, and two may be the same


@dataclass(frozen=True)
class VoteCache:
    """Arrays in `folder`, which need not exist yet, each under the digest of all that it was made from; beyond 4 GB no
    more are kept.

    Whether an array is found or recomputed changes no byte of what follows; one that is damaged is not found.
    """

    folder: Path

    def find(self, digest: str) -> np.ndarray | None:
        return read_array(self._path(digest))

    def keep(self, digest: str, votes: np.ndarray) -> None:
        """Keep them where there is room."""
        with _lock:
            if sum(path.stat().st_size for path in self.folder.glob("*.npy")) + votes.nbytes > MOST_BYTES:
                return
            write_array(self._path(digest), votes)

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.npy"
