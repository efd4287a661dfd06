"""Write documentation/reference/commands.md from the commands' own parsers: `python documentation/generate.py`.

And python-api.md from the docstrings of the stable names, and prompts-file.schema.json from the types of a prompts
file. Tests compare all of them with what this makes. The list of all modules (`api_page`) is made when the site is
built, and is in no file.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "documentation" / "reference" / "commands.md"
PYTHON_API = ROOT / "documentation" / "reference" / "python-api.md"
SCHEMA = ROOT / "documentation" / "reference" / "prompts-file.schema.json"
SCRIPTS = re.findall(r'^    "(\w+)",$', (ROOT / "setup.py").read_text(encoding="utf-8"), re.MULTILINE)
EXAMPLE = re.compile(r"examples?:?\n", re.IGNORECASE)
REMARK = re.compile(r"^(samunet_\w+(?: \S+)*) {2,}(?=\S)", re.MULTILINE)  # what an example does, behind it
INTRODUCTION = """# Commands

<!-- Written by documentation/generate.py from the commands' own help: edit that. -->

Names, arguments and flags are nnU-Net v2's wherever it has the same command. `samunet_<command> --help`
prints what is below.

- **Exit codes.** 0 when done; 2 for bad input, with one message that names the rule, the place, what was found and what
  to do; 1 for a fault of samunet, with its traceback; 130 after Ctrl-C, 143 after SIGTERM.
- **Output.** Progress goes to stderr; the last line on stdout says where the result is.
- **Interrupted?** Give the same command again: it continues.
- **Folders.** `--raw`, `--preprocessed` and `--results` win over the environment variables `samunet_raw`,
  `samunet_preprocessed` and `samunet_results` ([where samunet looks](dataset-format.md#where-it-is-looked-for)).
- **Numbers** are checked when the command line is read, JSON files when they are read; the message states the bounds.
"""


def commands_page() -> str:
    """The whole page: a section for each console script, in the order of setup.py."""
    return "\n".join([INTRODUCTION, *map(_section, SCRIPTS)])


def prompts_schema() -> str:
    """The JSON schema of a prompts file."""
    from samunet.preprocessing.prompts.content import json_schema

    return json.dumps(json_schema(), indent=2) + "\n"


def _section(name: str) -> str:
    parser = importlib.import_module(f"samunet.cli.{name}").parser()
    rows = [_row(action, parser) for action in parser._actions if "--help" not in action.option_strings]
    example = REMARK.sub(r"\1  # ", textwrap.dedent(EXAMPLE.split(parser.epilog or "")[-1]).strip())
    lines = [f"## samunet_{name}", "", _prose(parser.description or ""), "", "```bash", example, "```", ""]
    return "\n".join([*lines, "| argument, flag | meaning |", "|---|---|", *rows, ""])


def _row(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    formatter = parser._get_formatter()
    names = ", ".join(action.option_strings)
    values = formatter._format_args(action, formatter._get_default_metavar_for_optional(action)) if names else ""
    title = f"{names} {values}".strip() if names else action.metavar or action.dest
    return f"| `{title}` | {_prose(formatter._expand_help(action)) if action.help else ''} |"


def _prose(text: str) -> str:
    """One line that Markdown shows as it is: bars and angle brackets escaped."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def api_page() -> str:
    """A section for each room: its modules with the first line of every public docstring."""
    text = [
        "# Modules",
        "",
        "Every public class and function of samunet by room, with the first line of its docstring. The commands and",
        "the [Python API](python-api.md) are the stable interface; these names may change between versions.",
        "",
    ]
    for folder in [
        ROOT / "samunet",
        *sorted(path for path in (ROOT / "samunet").rglob("*") if (path / "__init__.py").is_file()),
    ]:
        modules = [path for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]
        if modules:
            text += [
                f"## {'.'.join(folder.relative_to(ROOT).parts)}",
                "",
                *(line for path in modules for line in _module(path)),
            ]
    return "\n".join(text)


def _module(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield f"**{path.stem}**: {_first_line(tree)}"
    yield ""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            arguments = f"({', '.join(a.arg for a in node.args.args)})" if isinstance(node, ast.FunctionDef) else ""
            yield f"- `{node.name}{arguments}`: {_first_line(node)}"
    yield ""


def _first_line(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    return _prose((ast.get_docstring(node) or "").partition("\n\n")[0])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    PAGE.write_text(commands_page(), encoding="utf-8")
    PYTHON_API.write_text(importlib.import_module("python_api").page(), encoding="utf-8")
    SCHEMA.write_text(prompts_schema(), encoding="utf-8")
    print(f"written: {PAGE}, {PYTHON_API} and {SCHEMA}")
