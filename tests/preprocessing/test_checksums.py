"""Checksums of files, and what is compared once."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from damage import rewrite

from samunet.preprocessing import checksums
from samunet.preprocessing.checksums import checksum_of_file, proven, read_once


def test_the_checksum_is_that_of_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"123456789")
    assert checksum_of_file(tmp_path / "a") == 0xCBF43926  # CRC-32's check value
    monkeypatch.setattr(checksums, "CHUNK_BYTES", 4)
    assert checksum_of_file(tmp_path / "a") == zlib.crc32(b"123456789")


def test_a_proof_is_asked_for_until_it_holds_and_again_after_a_change(tmp_path: Path) -> None:
    path, calls, answers = tmp_path / "a", [], [False, True, True]
    path.write_bytes(b"one")

    def proof() -> bool:
        calls.append(1)
        return answers[len(calls) - 1]

    assert not proven(path, proof)
    assert proven(path, proof) and proven(path, proof) and len(calls) == 2
    rewrite(path, b"two")
    assert proven(path, proof) and len(calls) == 3
    path.unlink()
    with pytest.raises(FileNotFoundError):
        proven(path, proof)


def test_a_file_is_read_again_only_after_a_change(tmp_path: Path) -> None:
    path, reads = tmp_path / "a", []
    path.write_text("one")

    def read() -> str:
        reads.append(1)
        return path.read_text()

    assert read_once(path, read) == read_once(path, read) == "one" and len(reads) == 1
    rewrite(path, b"two")
    assert read_once(path, read) == "two" and len(reads) == 2
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_once(path, read)
