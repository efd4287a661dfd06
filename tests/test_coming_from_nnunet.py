"""The page that compares every flag of nnU-Net 2.8.1 with samunet's, against both parsers."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import pytest
from pages import ROOT, SCRIPTS

PAGE = ROOT / "documentation" / "reference" / "coming-from-nnunet.md"
NONE = "no"


class Row(NamedTuple):
    theirs: str
    ours: str
    remark: str


class Section(NamedTuple):
    """A command of nnU-Net; `ours` is samunet's command, or "no"."""

    theirs: str
    ours: str
    rows: list[Row]


def sections() -> list[Section]:
    """What the page says."""
    found = []
    for text in PAGE.read_text(encoding="utf-8").split("\n## nnUNetv2_")[1:]:
        title, *_ = text.partition("\n")
        theirs, ours = re.fullmatch(r"(\w+) → (?:`samunet_(\w+)(?: [^`]*)?`|no counterpart)", title).groups()
        text = text.partition("\n## ")[0]
        cells = [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
                 for line in text.splitlines() if line.startswith("| `")]
        found.append(Section(theirs, ours or NONE, [Row(*row) for row in cells]))
    return found


def nnunet_flags() -> dict[str, dict[str, bool]]:
    """For each command of the installed nnU-Net: its flags and positional arguments, and whether they take a value."""
    try:
        package = distribution("nnunetv2")
    except PackageNotFoundError:
        pytest.skip("needs the extra nnunet")
    assert package.version == "2.8.1"
    found = {}
    for point in package.entry_points:
        path = Path(str(package.locate_file(point.module.replace(".", "/") + ".py")))
        functions = {node.name: node for node in ast.parse(path.read_text(encoding="utf-8")).body
                     if isinstance(node, ast.FunctionDef)}
        found[point.name.removeprefix("nnUNetv2_")] = dict(_arguments(functions[point.attr], functions))
    return found


def _arguments(function: ast.FunctionDef, functions: dict[str, ast.FunctionDef]):
    """(name, whether it takes a value) of every `add_argument` in a function and in those to which it gives its parser.
    """
    for call in ast.walk(function):
        if not isinstance(call, ast.Call):
            continue
        if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument":
            action = next((keyword.value.value for keyword in call.keywords if keyword.arg == "action"), "store")
            for name in call.args:
                yield name.value, not action.startswith("store_")
        elif isinstance(call.func, ast.Name) and call.func.id in functions and ast.unparse(call).endswith("(parser)"):
            yield from _arguments(functions[call.func.id], functions)


def samunet_flags(command: str) -> dict[str, bool]:
    """The flags and the destinations of positional arguments of a command, and whether they take a value."""
    parser: argparse.ArgumentParser = importlib.import_module(f"samunet.cli.{command}").parser()
    return {name: action.nargs != 0 for action in parser._actions
            for name in (action.option_strings or [action.metavar or action.dest])}


def test_flags_are_found_in_nnunets_source() -> None:
    flags = nnunet_flags()
    assert len(flags) == 21
    assert flags["train"]["dataset_name_or_id"] and flags["train"]["-tr"] and not flags["train"]["--val_best"]
    assert flags["preprocess"]["-np"] and not flags["preprocess"]["--no_pbar"]  # added by a function of its own


def test_every_command_and_flag_of_nnunet_has_a_row() -> None:
    missing = []
    page = {section.theirs: section for section in sections()}
    for command, flags in nnunet_flags().items():
        rows = [row.theirs for row in page[command].rows] if command in page else []
        missing += [f"{command} {flag}" for flag in flags if flag not in rows] if rows else [command]
        missing += [f"{command} has no {name}" for name in rows if name not in flags]
        missing += [f"{command} {name} twice" for name in rows if rows.count(name) > 1]
    assert not missing


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.theirs)
def test_every_row_names_a_flag_that_exists_or_a_reason(section: Section) -> None:
    theirs = nnunet_flags()[section.theirs]
    if section.ours != NONE:
        assert section.ours in SCRIPTS
        ours = samunet_flags(section.ours)
    for row in section.rows:
        if row.ours == NONE:
            assert len(row.remark) > 15, f"{row.theirs} needs a reason"
        else:
            assert row.ours in ours, f"samunet_{section.ours} has no {row.ours}"
            assert ours[row.ours] == theirs[row.theirs], f"{row.ours} takes a value, or takes none"
