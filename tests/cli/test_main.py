"""Exit codes: 0 done, 1 our fault, 2 bad input, 130 interrupted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from samunet.cli.main import command
from samunet.errors import UserError

ROOT = Path(__file__).parents[2]


def _raise(fault):
    @command
    def main(arguments=None):
        """A command's body."""
        if fault:
            raise fault

    return main


def test_exit_codes_and_what_is_printed(capsys):
    assert _raise(None)([]) == 0
    assert _raise(UserError("The rule.", where="a.json", found="b", mend="Do c."))([]) == 2
    assert capsys.readouterr().err == "error: The rule.\n  where: a.json\n  found: b\n  mend:  Do c.\n"
    assert _raise(ZeroDivisionError("ours"))([]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Traceback") and "ZeroDivisionError: ours" in error
    assert _raise(KeyboardInterrupt())([]) == 130
    assert "again to continue" in capsys.readouterr().err


def test_the_wrapper_keeps_name_and_docstring():
    main = _raise(None)
    assert main.__name__ == "main" and main.__doc__ == "A command's body."


@pytest.mark.parametrize("name", ["train", "predict", "plan_and_preprocess", "evaluate_folder"])
def test_help_is_fast_because_it_loads_nothing_heavy(name):
    code = (f"import sys\nfrom samunet.cli.{name} import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
            "print(sorted({'torch', 'numpy', 'SimpleITK', 'matplotlib'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.rstrip().endswith("[]")
