"""Ctrl-C and SIGTERM, whatever a command is doing: one line, 128 and the signal's number, no process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from ast import literal_eval
from pathlib import Path

import pytest

from samunet.signals import MESSAGE

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
ROOT = Path(__file__).parents[1]
HEAD = f"""
import os, sys, time, signal
sys.path.insert(0, {str(Path(__file__).parent)!r})
from samunet import signals
from samunet.cli.main import command
from samunet.errors import UserError
def ready():
    print("ready", flush=True)
"""
TAIL = """
if __name__ == "__main__":
    signals.install()
    code = command(main)()
    signals.ignore()
    sys.exit(code)
"""


class Command:
    """A command in a process group of its own, as a shell starts it, that has said that it is ready."""

    def __init__(self, folder: Path, body: str) -> None:
        (folder / "script.py").write_text(HEAD + body + TAIL)
        self.process = subprocess.Popen([sys.executable, folder / "script.py"], cwd=ROOT, text=True,
                                        start_new_session=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()

    def interrupt(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """Send the signal to the whole group, as a terminal does; the exit code and all that was said."""
        os.killpg(self.process.pid, number)
        _, error = self.process.communicate(timeout=60)
        return self.process.returncode, error


SLEEPING = "def main(arguments):\n    ready(); time.sleep(60)\n"
BODIES = {
    "asleep": SLEEPING,
    "the exception becomes another": """
def main(arguments):
    try:
        ready(); time.sleep(60)
    except BaseException as fault:
        raise RuntimeError("a library's own") from fault
""",
    "the exception becomes a user's error": """
def main(arguments):
    try:
        ready(); time.sleep(60)
    except BaseException as fault:
        raise UserError("A checkpoint must be whole.") from fault
""",
    "the exception is swallowed": """
signals.SECONDS_TO_END = 0.2
def main(arguments):
    ready()
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
""",
    "importing": """
from pathlib import Path
def main(arguments):
    lines = ["import time", "try:", "    print('ready', flush=True); time.sleep(60)",
             "except BaseException:", "    raise ImportError('half')"]
    Path(__file__).with_name("slow_import.py").write_text("\\n".join(lines))
    import slow_import
""",
    "a thread fails of it": """
import threading
def main(arguments):
    stop = threading.Event()
    def work():
        stop.wait(); raise RuntimeError("in a thread")
    thread = threading.Thread(target=work); thread.start()
    try:
        ready(); time.sleep(60)
    finally:
        stop.set(); thread.join()
""",
}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("doing", BODIES)
def test_one_line_and_the_signals_exit_code(tmp_path: Path, doing: str, number: int) -> None:
    assert Command(tmp_path, BODIES[doing]).interrupt(number) == (128 + number, f"{MESSAGE}\n")


def test_a_second_ctrl_c_changes_nothing(tmp_path: Path) -> None:
    body = """
def main(arguments):
    try:
        ready(); time.sleep(60)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)
"""
    assert Command(tmp_path, body).interrupt() == (130, f"{MESSAGE}\n")


def test_what_is_under_way_is_put_away(tmp_path: Path) -> None:
    body = f"""
from pathlib import Path
from samunet.files import whole_file
def main(arguments):
    with whole_file(Path({str(tmp_path)!r}) / "a.txt") as temporary:
        temporary.write_text("half"); ready(); time.sleep(60)
"""
    assert Command(tmp_path, body).interrupt() == (130, f"{MESSAGE}\n")
    assert [path.name for path in tmp_path.iterdir() if "a.txt" in path.name] == []


def tell_and_sleep(folder: str) -> None:
    (Path(folder) / f"{os.getpid()}.started").touch()
    time.sleep(60)


WORKERS = """
from samunet.workers import each_case
from test_signals import tell_and_sleep
def main(arguments):
    ready()
    for _ in each_case(tell_and_sleep, [{folder!r}] * 4, list("abcd"), 2):
        pass
"""


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{process}/stat")  # a zombie has ended
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("started", [0, 1, 2])
def test_workers_say_nothing_and_end_too(tmp_path: Path, started: int) -> None:
    """With none of them started: while they import."""
    command = Command(tmp_path, WORKERS.format(folder=str(tmp_path)))
    while len(found := list(tmp_path.glob("*.started"))) < started:
        time.sleep(0.01)
    assert command.interrupt() == (130, f"{MESSAGE}\n")  # which waits for all that hold its stderr
    assert not any(lives(int(path.stem)) for path in found)


def test_workers_end_where_the_command_alone_gets_the_signal(tmp_path: Path) -> None:
    command = Command(tmp_path, WORKERS.format(folder=str(tmp_path)))
    while len(list(tmp_path.glob("*.started"))) < 2:
        time.sleep(0.01)
    command.process.terminate()
    _, error = command.process.communicate(timeout=60)
    assert (command.process.returncode, error) == (143, f"{MESSAGE}\n")


def test_a_worker_is_not_interrupted_itself(tmp_path: Path) -> None:
    """Its parent decides; SIGINT that reaches it alone does nothing."""
    body = """
from samunet.workers import each_case
from test_signals import interrupt_itself
def main(arguments):
    print(dict(each_case(interrupt_itself, [1, 2], ["a", "b"], 2)), flush=True)
"""
    command = Command(tmp_path, body)
    assert command.process.wait(60) == 0 and literal_eval(command.said) == {"a": 1, "b": 2}


def interrupt_itself(value: int) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.05)
    return value


def test_a_forked_worker_leaves_the_line_to_its_parent(tmp_path: Path) -> None:
    body = """
def main(arguments):
    if os.fork() == 0:
        ready()
    time.sleep(60)
"""
    assert Command(tmp_path, body).interrupt() == (130, f"{MESSAGE}\n")


def test_a_deferred_signal_waits_for_the_end_of_its_block(tmp_path: Path) -> None:
    body = """
def main(arguments):
    with signals.deferred(), signals.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        print("to the end", flush=True)
    print("behind it", flush=True)
"""
    command = Command(tmp_path, body)
    rest, error = command.process.communicate(timeout=60)
    assert (command.process.returncode, command.said, rest, error) == (143, "to the end\n", "", f"{MESSAGE}\n")


def test_a_signal_after_the_work_is_done_changes_nothing(tmp_path: Path) -> None:
    body = """
import atexit
atexit.register(lambda: (ready(), time.sleep(0.3)))
def main(arguments):
    pass
"""
    assert Command(tmp_path, body).interrupt() == (0, "")
