"""Unfinished files carry their writer's host and process, and go when that process has died, never before."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from samunet import temporaries
from samunet.files import require_writable, whole_file, whole_folder, write_text
from samunet.temporaries import ABANDONED_SECONDS, HOST, clear_abandoned, is_abandoned, is_temporary, temporary_beside


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def left_by(folder: Path, process: int, host: str = HOST, age_s: float = 0, name: str = "a.json") -> Path:
    path = folder / f".unfinished-{host}-{process}-0-{name}"
    path.write_text("half")
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_a_name_carries_host_and_process_and_is_used_once() -> None:
    first, second = (temporary_beside(Path("folder/case.nii.gz")) for _ in range(2))
    assert first != second and first.parent == Path("folder")
    assert first.name.startswith(f".unfinished-{HOST}-{os.getpid()}") and first.name.endswith("-case.nii.gz")
    assert is_temporary(first) and not is_temporary(Path("case.nii.gz"))


def test_the_longest_name_that_a_disk_takes_has_a_temporary_name_too(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 120 + ".nii.gz")  # 247 bytes of 255
    with whole_file(path) as temporary:
        temporary.write_text("content")
        assert temporary.name.endswith(".nii.gz")
    assert path.read_text() == "content"


def test_what_a_dead_process_left_is_abandoned_at_once_and_what_a_living_one_writes_never(
    tmp_path: Path, dead: int
) -> None:
    assert is_abandoned(left_by(tmp_path, dead))
    assert not is_abandoned(left_by(tmp_path, os.getpid()))
    assert not is_abandoned(left_by(tmp_path, os.getpid(), age_s=10 * ABANDONED_SECONDS))
    assert not is_abandoned(left_by(tmp_path, 1, age_s=10 * ABANDONED_SECONDS)), "another user's process lives as well"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux says when a process started")
def test_a_process_that_has_the_number_of_a_dead_writer_is_not_taken_for_it(tmp_path: Path) -> None:
    own = temporary_beside(tmp_path / "a.json")
    own.write_text("half")
    started = re.search(r"-\d+\.(\d+)-", own.name)
    assert started is not None
    of_another = own.with_name(own.name.replace(f".{started[1]}-", f".{int(started[1]) - 1}-"))
    of_another.write_text("half")
    clear_abandoned(tmp_path)
    assert own.exists() and not of_another.exists()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux says that a process waits to be collected")
def test_a_process_that_has_ended_but_is_not_collected_writes_no_more(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert ended.stdout is not None and ended.stdout.read() == b""  # closed at its end
    path = left_by(tmp_path, ended.pid)
    for _ in range(1000):
        if is_abandoned(path):
            break
        time.sleep(0.01)
    assert is_abandoned(path) and ended.returncode is None
    ended.wait()


def test_of_another_host_only_what_is_old_is_abandoned(tmp_path: Path, dead: int) -> None:
    assert not is_abandoned(left_by(tmp_path, dead, host="elsewhere"))
    assert is_abandoned(left_by(tmp_path, dead, host="elsewhere", age_s=ABANDONED_SECONDS + 60))
    for name, age_s in ((".unfinished-a.json", 0), (".unfinished-b.json", ABANDONED_SECONDS + 60)):  # of older versions
        path = tmp_path / name
        path.write_text("half")
        os.utime(path, (time.time() - age_s,) * 2)
        assert is_abandoned(path) is (age_s > 0)


def test_clearing_removes_files_and_folders_of_dead_writers_alone(tmp_path: Path, dead: int) -> None:
    left_by(tmp_path, dead)
    for kind in ("unfinished", "replaced"):
        folder = tmp_path / f".{kind}-{HOST}-{dead}-1-frames"
        folder.mkdir()
        (folder / "0.png").write_text("half")
    mine = left_by(tmp_path, os.getpid())
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / ".hidden").write_text("")
    clear_abandoned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", mine.name, "a.json"]
    clear_abandoned(tmp_path / "none")


@pytest.mark.parametrize("write", [lambda folder: write_text(folder / "b.txt", ""), require_writable])
def test_the_first_write_into_a_folder_clears_it(tmp_path: Path, dead: int, write) -> None:
    left_by(tmp_path, dead)
    left_by(tmp_path, dead, name="proof")
    write(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if is_temporary(path)] == []


def test_the_first_folder_that_is_written_into_a_folder_clears_it(tmp_path: Path, dead: int) -> None:
    left_by(tmp_path, dead)
    with whole_folder(tmp_path / "frames"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_two_writers_of_one_file_do_not_share_a_temporary_file(tmp_path: Path) -> None:
    """The first one's rename must not publish what the second has half written."""
    path = tmp_path / "result"
    with whole_file(path) as second:
        second.write_text("half")
        with whole_file(path) as first:
            first.write_text("whole of the first")
        assert path.read_text() == "whole of the first"
        second.write_text("whole of the second")
    assert path.read_text() == "whole of the second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["result"]


def test_on_windows_no_process_is_queried(monkeypatch) -> None:
    """There the question would end it."""
    monkeypatch.setattr(temporaries.os, "name", "nt")
    monkeypatch.setattr(temporaries.os, "kill", lambda *_: pytest.fail("called"))
    monkeypatch.setattr(temporaries, "_state_and_start", lambda process: None)
    assert temporaries._is_alive(1, None)
