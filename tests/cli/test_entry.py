"""Console scripts: signals from the first import on, and a reader of stdout that has gone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from samunet.cli import entry
from samunet.signals import MESSAGE

ROOT = Path(__file__).parents[2]
COMMANDS = re.findall(r'"(\w+)",', re.search(r"COMMANDS = \((.*?)\)", (ROOT / "setup.py").read_text(), re.DOTALL)[1])
SCRIPT = "import sys; from samunet.cli.entry import {name}; sys.exit({name}())"


def script(name: str, *arguments: str, code: str = SCRIPT, **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", code.format(name=name), *arguments], cwd=ROOT, text=True,
                            start_new_session=True,
                            stderr=subprocess.PIPE, **options)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_console_script_has_a_command(name: str) -> None:
    assert callable(getattr(entry, name)) and callable(import_module(f"samunet.cli.{name}").main)


def test_setup_points_to_this_module() -> None:
    assert 'samunet_{name} = samunet.cli.entry:{name}' in (ROOT / "setup.py").read_text()


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_ctrl_c_while_a_command_is_imported_is_one_line() -> None:
    """The command's module is being imported when the signal comes: it sends it itself."""
    code = ("import os, signal, sys, types; from samunet.cli.entry import {name}\n"
            "class Interrupting:\n"
            "    def find_spec(self, name, path=None, target=None):\n"
            "        if name == 'argparse': os.kill(os.getpid(), signal.SIGINT)\n"
            "sys.meta_path.insert(0, Interrupting()); sys.modules.pop('argparse', None)\n"
            "sys.exit({name}())")
    done = script("train", "--help", code=code)
    _, error = done.communicate()
    assert (done.returncode, error) == (130, f"{MESSAGE}\n")


@pytest.mark.skipif(os.name != "posix", reason="pipes are POSIX's here")
def test_a_reader_that_has_gone_costs_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    done = script("train", "--list", stdout=write)
    os.close(write)
    _, error = done.communicate()
    assert (done.returncode, error) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_an_answer_that_cannot_be_written_is_an_error() -> None:
    with open("/dev/full", "w") as full:
        done = script("train", "--list", stdout=full)
    _, error = done.communicate()
    assert done.returncode == 2 and error.startswith("error: Standard output must be writable.")
    assert "No space left on device" in error and "Traceback" not in error


def test_exit_codes_pass(tmp_path: Path) -> None:
    done = script("predict", "-i", str(tmp_path), "-o", str(tmp_path / "out"), "-m", str(tmp_path / "none"))
    _, error = done.communicate()
    assert done.returncode == 2 and error.startswith("error: ")


def test_ctrl_c_before_the_handlers_are_there_ends_in_silence() -> None:
    """The signal comes while the entry point imports `samunet.signals`, which installs them."""
    code = """
import os, signal, sys
sys.argv = [{name!r}]
signal.signal(signal.SIGINT, signal.HANDLER)  # whatever this test's own process was started with
class Interrupting:
    def find_spec(self, module, *_):
        if module == "samunet.signals":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupting())
import samunet.cli.entry
"""
    for name, handler, tracebacks, ends in (("samunet_train", "default_int_handler", 0, -signal.SIGINT),
                                            ("another_program", "default_int_handler", 1, -signal.SIGINT),
                                            ("samunet_train", "SIG_IGN", 0, 0)):
        started = script(name, code=code.replace("HANDLER", handler))
        assert started.communicate()[1].count("Traceback") == tracebacks
        assert started.returncode == ends
