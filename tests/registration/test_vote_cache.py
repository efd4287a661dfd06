"""Votes kept for other runs: the same bytes, found within their room."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from damage import flip, truncate

from samunet.registration import vote_cache
from samunet.registration.vote_cache import VoteCache

VOTES = np.arange(6, dtype=np.float32).reshape(1, 2, 3)


def test_what_is_kept_is_found_by_another_of_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "not there yet"
    assert VoteCache(folder).find("a") is None
    VoteCache(folder).keep("a", VOTES)
    found = VoteCache(folder).find("a")
    assert found is not None and found.dtype == np.float32 and found.tobytes() == VOTES.tobytes()
    assert VoteCache(folder).find("b") is None


def test_beyond_its_room_nothing_more_is_kept(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(vote_cache, "MOST_BYTES", 175)  # a file is a header of 128 bytes and 24 of values
    for name in "ab":
        VoteCache(tmp_path).keep(name, VOTES)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_many_at_once_that_keep_the_same_or_others(tmp_path: Path) -> None:
    kept, names = VoteCache(tmp_path), ["same", "same", *map(str, range(30))]
    with ThreadPoolExecutor(8) as pool:
        [*pool.map(lambda name: kept.keep(name, VOTES), names)]
    assert {path.name for path in tmp_path.iterdir()} == {f"{name}.npy" for name in names}
    assert all(np.array_equal(kept.find(name), VOTES) for name in names)


def test_damaged_votes_are_not_found_and_those_without_a_checksum_are(tmp_path: Path) -> None:
    kept = VoteCache(tmp_path)
    kept.keep("a", VOTES)
    flip(tmp_path / "a.npy", 130)
    assert kept.find("a") is None
    kept.keep("a", VOTES)
    truncate(tmp_path / "a.npy", 140)
    assert kept.find("a") is None
    np.save(tmp_path / "before.npy", VOTES)
    found = kept.find("before")
    assert found is not None and found.tobytes() == VOTES.tobytes()
