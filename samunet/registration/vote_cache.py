"""The vote cache: votes of registered pairs on the disk, for other runs that register the same pairs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samunet.array_files import read_array, write_array

MOST_BYTES = 4_000_000_000
_lock = threading.Lock()  # supports are registered in parallel, and two may be the same


@dataclass(frozen=True)
class VoteCache:
    """Arrays in `folder`, which need not exist yet, each under the digest of all its inputs; at most about 4 GB.

    Results are the same bytes whether an array is found or recomputed; a damaged one is not found.
    """

    folder: Path

    def find(self, digest: str) -> np.ndarray | None:
        """The array stored under `digest`; None if there is none, or a damaged one."""
        return read_array(self._path(digest))

    def keep(self, digest: str, votes: np.ndarray) -> None:
        """Store the array unless the cache is full."""
        with _lock:
            if sum(path.stat().st_size for path in self.folder.glob("*.npy")) + votes.nbytes > MOST_BYTES:
                return
            write_array(self._path(digest), votes)

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.npy"
