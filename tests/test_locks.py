"""Who works in a place keeps others out or waiting, is named to them, and leaves it free when it dies."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from samunet.errors import UserError
from samunet.locks import lock_beside, locked, owned

HOLDER = ("import sys; from pathlib import Path; from samunet.locks import owned\n"
          "with owned(Path(sys.argv[1]), Path(sys.argv[1])):\n"
          "    print('held', flush=True); sys.stdin.read()\n")


def holder(path: Path) -> subprocess.Popen:
    """A process that owns `path` until its stdin is closed, or it is killed."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, path], cwd=Path(__file__).parents[1], text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_owner_sees_who_the_first_is(tmp_path: Path) -> None:
    first = holder(tmp_path / "a.lock")
    with pytest.raises(UserError, match="Only one command at a time") as caught, owned(tmp_path / "a.lock",
                                                                                       tmp_path / "a"):
        pytest.fail("both own it")
    assert caught.value.where == str(tmp_path / "a")
    assert f"process {first.pid} on {platform.node()}" in caught.value.found
    first.communicate()
    with owned(tmp_path / "a.lock", tmp_path / "a"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_owner_held_is_taken_over(tmp_path: Path) -> None:
    first = holder(tmp_path / "a.lock")
    first.kill()
    assert first.wait() == -signal.SIGKILL
    with owned(tmp_path / "a.lock", tmp_path / "a"), \
            pytest.raises(UserError, match=f"process {os.getpid()} "), owned(tmp_path / "a.lock", tmp_path / "a"):
        pytest.fail("both own it")
    assert list(tmp_path.iterdir()) == [], "the dead one's files have gone as well"


def test_who_waits_says_for_whom_and_goes_on_when_it_is_free(tmp_path: Path, capsys) -> None:
    first = holder(tmp_path / "a.lock")
    done = threading.Event()

    def wait() -> None:
        with locked(tmp_path / "a.lock"):
            done.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    while f"process {first.pid} on" not in (printed := capsys.readouterr().err):
        assert not done.wait(0.05) and not printed
    first.communicate()
    waiting.join()
    assert done.is_set()


def test_an_owner_may_be_waited_for(tmp_path: Path, capsys) -> None:
    first = holder(tmp_path / "a.lock")
    waiting = threading.Thread(target=own_and_leave, args=(tmp_path,))
    waiting.start()
    while f"process {first.pid} on" not in capsys.readouterr().err:
        assert waiting.is_alive()
    first.communicate()
    waiting.join()
    assert [path.name for path in tmp_path.iterdir()] == ["owned"]


def own_and_leave(folder: Path) -> None:
    with owned(folder / "a.lock", folder, wait=True):
        (folder / "owned").touch()


def test_an_owner_that_nothing_is_known_of_is_another_process(tmp_path: Path) -> None:
    with owned(tmp_path / "a.lock", tmp_path):
        (tmp_path / ".a.lock.holder").write_text("[]")
        with pytest.raises(UserError) as caught, owned(tmp_path / "a.lock", tmp_path):
            pytest.fail("both own it")
    assert caught.value.found == "another process"


def test_a_lock_file_is_hidden_beside_its_folder() -> None:
    assert lock_beside(Path("model/fold_0")) == Path("model/.fold_0.lock")
