"""Commands and flags that the texts name exist, and commands.md names all that exist."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "documentation").glob("*.md"))]
SCRIPTS = re.findall(r'^    "(\w+)",$', (ROOT / "setup.py").read_text(encoding="utf-8"), re.MULTILINE)


def _parser(name: str) -> argparse.ArgumentParser:
    return importlib.import_module(f"samunet.cli.{name}").parser()


def _flags(name: str) -> set[str]:
    return {flag for action in _parser(name)._actions for flag in action.option_strings} - {"-h", "--help"}


def _command_lines(path: Path) -> list[str]:
    """Lines that begin with a command, in fenced or indented blocks, continued lines joined."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip().removeprefix("$ ").partition(" #")[0] for line in text.splitlines()
            if re.match(r"\s*(\$ )?samunet_\w+( |$)", line)]


def test_console_scripts_are_found_in_setup() -> None:
    assert len(SCRIPTS) >= 10 and "plan_and_preprocess" in SCRIPTS and "info" in SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_console_script_has_a_module_with_help_and_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"samunet.cli.{name}")
    with pytest.raises(SystemExit) as end:
        module.main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert f"samunet_{name}" in text.split("example", 1)[1], "the help must end with an example"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_commands_that_a_text_shows_are_understood(path: Path) -> None:
    for line in _command_lines(path):
        name, *arguments = shlex.split(line)
        name = name.removeprefix("samunet_")
        assert name in SCRIPTS, f"{path.name}: there is no samunet_{name}"
        if "..." not in line:
            _parser(name).parse_args(arguments)  # ends the test by SystemExit where an argument is unknown


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_commands_and_flags_that_a_text_names_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    known = set().union(*map(_flags, SCRIPTS)) | {"-h", "--help"}
    for span in re.findall(r"`([^`\n]+)`", text):
        for word in re.findall(r"(?<![\w/.])samunet_(\w+)", span):
            assert word in [*SCRIPTS, "raw", "preprocessed", "results", "checkpoints", "data"], f"`{span}` in {path.name}"
        if span.startswith("-"):
            assert span.split()[0] in known, f"no command has {span.split()[0]}, which {path.name} names"


@pytest.mark.parametrize("name", SCRIPTS)
def test_commands_md_names_every_flag(name: str) -> None:
    text = (ROOT / "documentation" / "commands.md").read_text(encoding="utf-8")
    section = re.search(rf"^## samunet_{name}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"commands.md has no section samunet_{name}"
    named = set(re.findall(r"(?<!\w)--?[A-Za-z]\w*", section[1]))
    assert _flags(name) <= named


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), f"{path.name} links to {target}"
