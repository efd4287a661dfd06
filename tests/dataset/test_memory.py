"""What does not fit is refused by its figures; nothing of that size is allocated."""

from __future__ import annotations

from pathlib import Path

import pytest

from samunet.dataset import memory
from samunet.dataset.memory import free_bytes, require_memory
from samunet.errors import UserError


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """8 GiB available; no container."""
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUP_LIMIT", tmp_path / "memory.max")
    (tmp_path / "meminfo").write_text("MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\n")
    return tmp_path


def test_free_memory_is_what_is_available_but_no_more_than_the_container_may_have(machine):
    assert free_bytes() == 8 * 2**30
    (machine / "memory.max").write_text("max\n")
    assert free_bytes() == 8 * 2**30
    (machine / "memory.max").write_text(f"{2**30}\n")
    assert free_bytes() == 2**30


def test_an_array_is_refused_from_the_first_byte_too_many(machine):
    require_memory((2**11, 2**10, 2**10), 4, where=Path("a.nii"), why="", mend="")
    with pytest.raises(UserError) as caught:
        require_memory((2**11 + 1, 2**10, 2**10), 4, where=Path("a.nii"), why="units", mend="Crop it.")
    assert caught.value.where == "a.nii" and caught.value.mend == "Crop it."
    assert caught.value.found == "2049 x 1024 x 1024 voxels (z, y, x), 8.0 GiB, for 8.0 GiB of free memory; units"
