"""NumPy files with a checksum: every flip and every truncation is noticed; files without one are read while they are
whole.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from samunet.array_files import TRAILER_BYTES, read_array, write_array

ARRAY = np.arange(6, dtype=np.int16).reshape(1, 2, 3)


def test_what_is_written_comes_back_and_numpy_reads_it_too(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    write_array(path, ARRAY)
    for found in (read_array(path), np.load(path)):
        assert found is not None and found.dtype == np.int16 and found.tolist() == ARRAY.tolist()
    assert path.stat().st_size == 128 + 12 + TRAILER_BYTES
    assert read_array(tmp_path / "none.npy") is None


@pytest.mark.parametrize("bit", [1, 16, 128])
def test_every_flipped_bit_and_every_truncation_is_noticed(tmp_path: Path, bit: int) -> None:
    path = tmp_path / "a.npy"
    write_array(path, ARRAY)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        assert read_array(path) is None, place
        # Without the trailer alone it looks like a whole file of before, which it is.
        path.write_bytes(whole[:place])
        assert read_array(path) is None or place == len(whole) - TRAILER_BYTES, place


def test_a_file_of_before_is_read_while_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, ARRAY)
    found = read_array(path)
    assert found is not None and found.tolist() == ARRAY.tolist()
    path.write_bytes(path.read_bytes()[:-1])
    assert read_array(path) is None
