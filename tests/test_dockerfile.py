"""The Dockerfile installs what constraints.txt names, copies what the installation reads, and names real commands."""

from __future__ import annotations

import re
import shlex
from fnmatch import fnmatch

from pages import ROOT, SCRIPTS

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = [line for line in TEXT.splitlines() if line and not line.startswith("#")]


def arguments(instruction: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in LINES if line.startswith(f"{instruction} ")]


def test_it_installs_from_the_constraints_and_only_extras_that_exist() -> None:
    [run] = arguments("RUN")
    assert run[:4] == ["python", "-m", "pip", "install"] and run[run.index("-c") + 1] == "constraints.txt"
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    extras = run[-1].removeprefix(".[").removesuffix("]").split(",")
    assert extras and all(f'"{extra}": [' in setup for extra in extras)
    [[image]] = arguments("FROM")
    assert 11 <= int(re.fullmatch(r"python:3\.(\d+)-slim", image)[1]) <= 13


def test_what_it_copies_is_there_and_is_sent() -> None:
    copied = {source for words in arguments("COPY") for source in words[:-1]}
    assert copied == {"setup.py", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "samunet"}
    assert all((ROOT / source).exists() for source in copied)
    rules = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
             if line and not line.startswith("#")]
    sent = set()
    for name in {path.name for path in ROOT.iterdir()}:  # the last rule that fits a name decides
        fitting = [rule for rule in rules if fnmatch(name, rule.removeprefix("!"))]
        sent |= {name} if fitting and fitting[-1].startswith("!") else set()
    assert sent == copied


def test_its_commands_and_folders_are_samunets() -> None:
    folders = {"samunet_raw", "samunet_preprocessed", "samunet_results"}
    assert set(re.findall(r"\bsamunet_\w+", TEXT)) - folders <= {f"samunet_{name}" for name in SCRIPTS}
    [environment] = arguments("ENV")
    assert dict(each.split("=") for each in environment).keys() == folders | {"HOME"}
