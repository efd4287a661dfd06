"""Votes of registered pairs, kept on the disk for other runs that register the same pairs."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samunet.files import whole_file

MOST_BYTES = 4_000_000_000
_lock = threading.Lock()  # supports are registered side by side, and two may be the same


@dataclass(frozen=True)
class KeptVotes:
    """Arrays in `folder`, which need not exist yet, each under the digest of all that it was made from; beyond 4 GB no more are kept.

    Whether an array is found or made anew changes no byte of what follows.
    """

    folder: Path

    def find(self, digest: str) -> np.ndarray | None:
        path = self._path(digest)
        return np.load(path) if path.is_file() else None

    def keep(self, digest: str, votes: np.ndarray) -> None:
        """Keep them where there is room."""
        with _lock:
            if sum(path.stat().st_size for path in self.folder.glob("*.npy")) + votes.nbytes > MOST_BYTES:
                return
            with whole_file(self._path(digest)) as temporary, temporary.open("wb") as stream:
                np.save(stream, votes)

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.npy"
