"""Faults of worker processes are reported with the case's name; a dead worker has a clear message."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from samunet import console
from samunet.console import lines_held, say_once
from samunet.errors import BadCases, UserError
from samunet.workers import default_workers, each_case


def square(value: int) -> int:
    return value * value


def refuse(value: int) -> int:
    if value == 2:
        raise UserError("The value must not be 2.", where="two.nii.gz", found="2", mend="Take 3.")
    return value


def break_down(value: int) -> int:
    if value == 2:
        raise ZeroDivisionError("two")
    return value


def exit_at_once(value: int) -> int:
    if value == 2:
        os._exit(1)
    return value


def kill_itself(value: int) -> int:
    if value == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    return value


NAMES = ["one", "two", "three"]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_case_is_done_once(workers):
    assert sorted(each_case(square, [1, 2, 3], NAMES, workers)) == [("one", 1), ("three", 9), ("two", 4)]


def test_one_worker_keeps_the_order_and_works_lazily():
    seen = each_case(square, [1, 2, 3], NAMES, 1)
    assert next(seen) == ("one", 1) and next(seen) == ("two", 4)


def test_nothing_to_do_is_no_fault():
    assert list(each_case(square, [], [], 4)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_user_error_passes_as_it_is(workers):
    with pytest.raises(UserError) as caught:
        list(each_case(refuse, [1, 2, 3], NAMES, workers))
    assert str(caught.value) == (
        "The value must not be 2.\n  where: two.nii.gz\n  found: 2\n  mend:  Take 3."
    )


def refuse_even(value: int) -> int:
    if value % 2 == 0:
        raise UserError(f"{value} is even.")
    return value


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_cases_do_not_stop_the_others_and_are_reported_in_order(workers):
    seen = []
    with pytest.raises(BadCases) as caught:
        for name, value in each_case(refuse_even, [4, 1, 2, 3], ["four", "one", "two", "three"], workers):
            seen.append((name, value))
    assert sorted(seen) == [("one", 1), ("three", 3)]
    assert [problem.rule for problem in caught.value.problems] == ["4 is even.", "2 is even."]


def want_memory(value: int) -> int:
    return len(bytes(2**62)) if value == 2 else value


@pytest.mark.parametrize("workers", [1, 2])
def test_a_case_that_memory_cannot_hold_is_a_bad_case(workers):
    with pytest.raises(BadCases, match="must fit into memory") as caught:
        list(each_case(want_memory, [1, 2, 3], NAMES, workers))
    assert caught.value.where == "case two"


@pytest.mark.parametrize("workers", [1, 2])
def test_any_other_fault_names_the_case_and_keeps_its_traceback(workers):
    with pytest.raises(RuntimeError, match="case two: ZeroDivisionError: two") as caught:
        list(each_case(break_down, [1, 2, 3], NAMES, workers))
    cause = caught.value.__cause__
    assert isinstance(cause, ZeroDivisionError)
    if workers > 1:
        assert "break_down" in str(cause.__cause__)  # the worker's own traceback, as text


@pytest.mark.parametrize("work", [exit_at_once, kill_itself])
def test_a_dead_worker_is_reported_in_words(work):
    seen = {}
    with pytest.raises(BadCases, match="memory") as caught:
        for name, value in each_case(work, [1, 2, 3, 4, 5, 6], [*NAMES, "four", "five", "six"], 2):
            seen[name] = value
    assert caught.value.where == "case two"  # alone, although others were under way
    assert seen == {"one": 1, "three": 3, "four": 4, "five": 5, "six": 6}
    assert "-np 1" in caught.value.mend


def die_once(marker: str) -> str:
    """Kill this worker at the first call with a marker that is not there yet."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return marker


def test_a_case_whose_worker_was_killed_by_chance_is_done_again(tmp_path):
    markers = [str(tmp_path / name) for name in NAMES]
    for marker in markers[1:]:
        Path(marker).touch()
    assert dict(each_case(die_once, markers, NAMES, 2)) == dict(zip(NAMES, markers, strict=True))


def sleep_and_tell(folder: str) -> None:
    """Write this worker's process id, then work for longer than anybody waits."""
    (Path(folder) / f"{os.getpid()}.started").touch()
    time.sleep(60)


def test_workers_end_when_the_command_is_killed(tmp_path):
    code = (f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "from test_workers import sleep_and_tell; from samunet.workers import each_case\n"
            f"if __name__ == '__main__': list(each_case(sleep_and_tell, [{str(tmp_path)!r}] * 2, ['a', 'b'], 2))\n")
    (tmp_path / "command.py").write_text(code)
    command = subprocess.Popen([sys.executable, tmp_path / "command.py"])
    deadline = time.monotonic() + 60
    while len(started := list(tmp_path.glob("*.started"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    command.kill()
    command.wait()
    workers = [int(path.stem) for path in started]
    while any(_lives(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(workers) == 2 and not any(_lives(worker) for worker in workers)


def _lives(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    if Path("/proc/self").exists():  # a zombie that was not reaped has ended
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


def test_default_workers_are_bounded():
    assert 1 <= default_workers() <= 8


def notice(value: int) -> int:
    say_once(f"odd file of {value % 2}")
    return value


@pytest.mark.parametrize("workers", [1, 2])
def test_a_line_that_several_workers_say_is_printed_once(workers, capfd, monkeypatch):
    monkeypatch.setattr(console, "_said", set())
    for _ in range(2):
        assert sorted(value for _, value in each_case(notice, [1, 2, 3], NAMES, workers)) == [1, 2, 3]
    assert sorted(capfd.readouterr().err.splitlines()) == ["odd file of 0", "odd file of 1"]


def test_held_lines_are_not_printed(capsys):
    with lines_held() as outer:
        with lines_held() as inner:
            say_once("inner line")
        say_once("outer line")
    assert (outer, inner) == (["outer line"], ["inner line"]) and capsys.readouterr().err == ""
    say_once("inner line")
    assert capsys.readouterr().err == "inner line\n"
