"""Commands from the tests' own server are processes like real console scripts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warm_server import WarmServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the server passes processors and files as Linux does")

SHOWN = """\
import os, sys
print(sys.argv[1:], os.getcwd(), os.environ["COLOUR"], sorted(os.sched_getaffinity(0)), sys.stdin.read())
print("warned", file=sys.stderr)
sys.exit(3)
"""
WAITING = "import pathlib, time; pathlib.Path('there').write_text(''); time.sleep(600)"


@pytest.fixture(scope="module")
def scripts(warm_server: WarmServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return warm_server.write_scripts(tmp_path_factory.mktemp("scripts") / "bin")


def ends_soon(pid: int) -> bool:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def written(path: Path, script: str) -> Path:
    path.write_text(script)
    return path


def test_a_script_has_its_arguments_folder_environment_streams_and_exit_code(scripts: Path, tmp_path: Path) -> None:
    script = written(tmp_path / "shown.py", SHOWN)
    done = subprocess.run([scripts / "python", script, "a b", "-c"], cwd=tmp_path, env={**os.environ, "COLOUR": "blue"},
                          input="said", capture_output=True, text=True, check=False)
    assert done.stdout == f"['a b', '-c'] {tmp_path} blue {sorted(os.sched_getaffinity(0))} said\n"
    assert (done.returncode, done.stderr) == (3, "warned\n")


def test_a_command_says_what_its_console_script_says(warm_server: WarmServer, scripts: Path, tmp_path: Path) -> None:
    real = subprocess.run([Path(sys.executable).with_name("samunet_train"), "--list"], capture_output=True, text=True,
                          check=True)
    shell = subprocess.run(["samunet_train", "--list"], env={**os.environ, "PATH": str(scripts)}, capture_output=True,
                           text=True, check=True)
    command = warm_server.start("train", ["--list"], tmp_path, {})
    assert command.ends_within(None) and command.code == 0
    assert command.output == (shell.stdout, shell.stderr) == (real.stdout, real.stderr) != ("", "")


def test_a_killed_command_has_the_signals_number(warm_server: WarmServer, tmp_path: Path) -> None:
    command = warm_server.start("python", [str(written(tmp_path / "waiting.py", WAITING))], tmp_path, {})
    while not (tmp_path / "there").exists():
        assert not command.ends_within(0.01)
    command.kill()
    assert command.code == -signal.SIGKILL and ends_soon(command.pid)


def test_a_signal_to_the_script_reaches_the_command(scripts: Path, tmp_path: Path) -> None:
    asked = subprocess.Popen([scripts / "python", written(tmp_path / "waiting.py", WAITING)], cwd=tmp_path)
    while not (tmp_path / "there").exists():
        time.sleep(0.01)
    asked.terminate()
    assert asked.wait() == 128 + signal.SIGTERM


def test_a_command_ends_with_the_script_that_asked_for_it(scripts: Path, tmp_path: Path) -> None:
    script = written(tmp_path / "waiting.py", WAITING.replace("''", "str(__import__('os').getpid())"))
    asked = subprocess.Popen([scripts / "python", script], cwd=tmp_path)
    while not (tmp_path / "there").exists() or not (tmp_path / "there").read_text():
        time.sleep(0.01)
    asked.kill()
    asked.wait()
    assert ends_soon(int((tmp_path / "there").read_text()))
