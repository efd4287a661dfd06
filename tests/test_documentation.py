"""Commands and flags that the pages name exist, and the command reference is what the commands' own help says."""

from __future__ import annotations

import argparse
import importlib
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from pages import FOR_USERS, PAGES, ROOT, SCRIPTS, blocks, name_of, spans

COMMANDS = ROOT / "documentation" / "reference" / "commands.md"
PYTHON_API = ROOT / "documentation" / "reference" / "python-api.md"
COMING = ROOT / "documentation" / "reference" / "coming-from-nnunet.md"  # tests/test_coming_from_nnunet.py checks it
README_LINES = 120


def _parser(name: str) -> argparse.ArgumentParser:
    return importlib.import_module(f"samunet.cli.{name}").parser()


def _flags(name: str) -> set[str]:
    return {flag for action in _parser(name)._actions for flag in action.option_strings} - {"-h", "--help"}


def _command_lines(path: Path, start: str) -> list[str]:
    """Lines that begin with a command, in fenced or indented blocks, continued lines joined."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    return [
        line.strip().removeprefix("$ ").partition(" #")[0]
        for line in text.splitlines()
        if re.match(rf"\s*(\$ )?{start}( |$)", line)
    ]


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


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_commands_that_a_page_shows_are_understood(path: Path) -> None:
    for line in _command_lines(path, r"samunet_\w+"):
        name, *arguments = shlex.split(line)
        name = name.removeprefix("samunet_")
        assert name in SCRIPTS, f"{path.name}: there is no samunet_{name}"
        if "..." not in line:
            try:
                _parser(name).parse_args(arguments)
            except SystemExit as end:  # 2 where an argument is unknown, 0 of --list
                assert end.code == 0, f"{path.name}: {line}"


@pytest.mark.parametrize("path", [path for path in FOR_USERS if path != COMING], ids=name_of)
def test_commands_and_flags_that_a_page_names_exist(path: Path) -> None:
    known = set().union(*map(_flags, SCRIPTS)) | {"-h", "--help", "-tr", "-c"}  # the last two are nnU-Net's
    for span in spans(path.read_text(encoding="utf-8")):
        for word in re.findall(r"(?<![\w/.])samunet_(\w+)", span):
            folders = ("raw", "preprocessed", "results", "checkpoints", "data")
            assert word in (*SCRIPTS, *folders), f"`{span}` in {path.name}"
        if span.startswith("-") and path != COMMANDS:
            assert span.split()[0].rstrip(",") in known, f"no command has {span.split()[0]}, which {path.name} names"


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_scripts_that_a_page_calls_exist_with_their_flags(path: Path) -> None:
    for block in blocks(path.read_text(encoding="utf-8").replace("\\\n", " "), "bash", "sh", ""):
        for script, flags in re.findall(
            r"^ *python (?:-m )?((?:studies|documentation|tests)[\w./]+)(.*)$", block, re.MULTILINE
        ):
            file = ROOT / (script if script.endswith(".py") else f"{script.replace('.', '/')}.py")
            assert file.is_file(), f"{path.name} calls {script}"
            source = file.read_text(encoding="utf-8")
            for shared in re.findall(r"^from (\w+) import", source, re.MULTILINE):  # a script's parser may be there
                if (beside := file.with_name(f"{shared}.py")).is_file():
                    source += beside.read_text(encoding="utf-8")
            for flag in re.findall(r"(?<= )--?[a-z][\w-]*", flags.partition("#")[0]):
                assert f'"{flag}"' in source, f"{path.name}: {script} has no {flag}"


def test_the_command_reference_is_up_to_date() -> None:
    made = runpy.run_path(str(ROOT / "documentation" / "generate.py"))["commands_page"]()
    assert COMMANDS.read_text(encoding="utf-8") == made, "run: python documentation/generate.py"
    for name in SCRIPTS:
        section = made.partition(f"## samunet_{name}\n")[2].partition("\n## ")[0]
        assert _flags(name) <= set(re.findall(r"(?<!\w)--?[A-Za-z]\w*", section))


def test_the_python_api_lists_public_names_with_their_docstrings() -> None:
    page = runpy.run_path(str(ROOT / "documentation" / "generate.py"))["api_page"]()
    assert "\n- `UserError`: Bad input: " in page and "\n- `digest_of_json(content)`: SHA-256 (hex) of " in page
    assert "`_rebuild" not in page
    made = runpy.run_path(str(ROOT / "documentation" / "python_api.py"))["page"]()
    assert PYTHON_API.read_text(encoding="utf-8") == made, "run: python documentation/generate.py"


def test_the_readme_is_short_and_names_the_version() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= README_LINES
    version = re.search(r'__version__ = "([^"]+)"', (ROOT / "samunet" / "__init__.py").read_text())
    assert version and f"\nversion: {version[1]}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", FOR_USERS, ids=name_of)
def test_pages_for_users_hold_no_commit(path: Path) -> None:
    words = re.findall(r"`([0-9a-f]{7,40})`", path.read_text(encoding="utf-8"))
    assert not [word for word in words if re.search("[a-f]", word) and re.search("[0-9]", word)]


def test_the_site_names_every_page() -> None:
    nav = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = set(re.findall(r"[\w./-]+\.md", nav))
    folder = ROOT / "documentation"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md") if "examples" not in path.parts}
    there |= {f"studies/{path.name}" for path in (ROOT / "studies").glob("*.md")} | {"CHANGELOG.md", "CONTRIBUTING.md"}
    assert named == there | {"reference/modules.md"}


@pytest.mark.skipif(
    "mkdocs" not in sys.modules and importlib.util.find_spec("mkdocs") is None, reason="needs the extra docs"
)
def test_the_site_builds(tmp_path: Path) -> None:
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path), strict=True))
    assert (tmp_path / "reference" / "python-api" / "index.html").is_file()
    assert 'href="../../studies/few-labels/"' in (tmp_path / "how-to" / "few-labels" / "index.html").read_text(
        encoding="utf-8"
    )
