"""Votes kept for other runs: the same bytes, found by content, within their room."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from samunet.variants import kept_votes
from samunet.variants.kept_votes import KeptVotes, digest_of_arrays

VOTES = np.arange(6, dtype=np.float32).reshape(1, 2, 3)


def test_what_is_kept_is_found_by_another_of_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "not there yet"
    assert KeptVotes(folder).find("a") is None
    KeptVotes(folder).keep("a", VOTES)
    found = KeptVotes(folder).find("a")
    assert found is not None and found.dtype == np.float32 and found.tobytes() == VOTES.tobytes()
    assert KeptVotes(folder).find("b") is None


def test_beyond_its_room_nothing_more_is_kept(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(kept_votes, "MOST_BYTES", 175)  # a file is a header of 128 bytes and 24 of values
    for name in "ab":
        KeptVotes(tmp_path).keep(name, VOTES)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_digests_tell_values_types_and_shapes_apart() -> None:
    arrays = [VOTES, VOTES + 1, VOTES.astype(np.float64), VOTES.reshape(2, 3), np.ascontiguousarray(VOTES[:, ::-1])]
    assert len({digest_of_arrays([array]) for array in arrays}) == len(arrays)
    assert digest_of_arrays([VOTES, VOTES + 1]) != digest_of_arrays([VOTES + 1, VOTES])
    assert digest_of_arrays([VOTES[:, ::-1]]) == digest_of_arrays([np.ascontiguousarray(VOTES[:, ::-1])])  # whatever the memory order
