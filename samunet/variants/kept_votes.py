"""Votes of registered pairs, kept on the disk for other runs that register the same pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samunet.files import whole_file

MOST_BYTES = 4_000_000_000


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
        if sum(path.stat().st_size for path in self.folder.glob("*.npy")) + votes.nbytes > MOST_BYTES:
            return
        with whole_file(self._path(digest)) as temporary, temporary.open("wb") as stream:
            np.save(stream, votes)

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.npy"


def digest_of_arrays(arrays: Sequence[np.ndarray]) -> str:
    """SHA-256 over types, shapes and values."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
